-- Searches for what has ended: there is little of it among much that stands.
CREATE INDEX client_revoked ON client (created_at, client_id) WHERE revoked_at IS NOT NULL;
CREATE INDEX user_account_disabled ON user_account (created_at, user_id) WHERE disabled_at IS NOT NULL;
CREATE INDEX access_grant_ended ON access_grant (created_at, grant_id) WHERE revoked_at IS NOT NULL;
CREATE INDEX access_grant_client_ended ON access_grant (client_id, created_at, grant_id) WHERE revoked_at IS NOT NULL;
CREATE INDEX token_family_client_ended ON token_family (client_id, created_at, family_id) WHERE revoked_at IS NOT NULL;
