-- What a server has after a million tokens: 100 000 clients, 10 000 nodes, 20 000 people, and what they have granted and
-- done. A few of each have ended, so that a search for those has far to go. One client and one person are busy.

-- Twenty-two digits, as ids of people and clients have letters.
CREATE FUNCTION pg_temp.id(kind TEXT, number BIGINT) RETURNS TEXT LANGUAGE SQL IMMUTABLE
    AS $$ SELECT kind || lpad(number::TEXT, 22, '0') $$;
CREATE FUNCTION pg_temp.hash(number BIGINT) RETURNS BYTEA LANGUAGE SQL IMMUTABLE
    AS $$ SELECT sha256(convert_to(number::TEXT, 'UTF8')) $$;
CREATE TEMP TABLE clock AS SELECT extract(epoch FROM now())::BIGINT AS now;

INSERT INTO user_account (user_id, username, display_name, email, is_admin, created_at, disabled_at)
    SELECT pg_temp.id('u_', i), 'person' || i, 'Person ' || i, 'person' || i || '@example.com', i % 1000 = 1,
        now - 31536000 + i * 1500, CASE WHEN i % 5000 = 0 THEN now END
    FROM generate_series(1, 20000) i, clock;

INSERT INTO session (cookie_hash, session_id, user_id, methods, user_agent, address, authenticated_at, last_seen_at, expires_at)
    SELECT pg_temp.hash(i), pg_temp.id('s_', i), pg_temp.id('u_', CASE WHEN i <= 500 THEN 1 ELSE i END), 'pwd otp',
        'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0', '192.0.2.7', now - 3600 - i % 600, now - i % 600, now + 86400
    FROM generate_series(1, 20000) i, clock;

-- The first 10 000 are those of nodes; number 10 001 is the busy one.
INSERT INTO client (client_id, name, client_type, auth_methods, grants, scopes, resources, created_at, revoked_at, redirect_uris,
        origin, last_used_at, expires_at)
    SELECT pg_temp.id('c_', i), CASE WHEN i <= 10000 THEN 'node ' || i ELSE 'Agent ' || i % 9000 END,
        CASE WHEN i <= 10000 THEN 'service' ELSE 'ai-agent' END, 'client_secret_basic client_secret_post',
        CASE WHEN i <= 10000 THEN 'client_credentials' ELSE 'authorization_code refresh_token' END, 'mcp:read mcp:call', '[]',
        now - 31536000 + i * 300, CASE WHEN i > 10001 AND i % 20000 = 0 THEN now - i END,
        CASE WHEN i <= 10000 THEN '[]' ELSE '["http://127.0.0.1/callback"]' END,
        CASE WHEN i <= 20000 THEN 'operator' WHEN i <= 80000 THEN 'registration' ELSE 'document' END,
        now / 86400 * 86400 - i % 30 * 86400, CASE WHEN i BETWEEN 20001 AND 80000 THEN now + 7776000 END
    FROM generate_series(1, 100000) i, clock;
INSERT INTO client_secret (secret_hash, client_id, created_at)
    SELECT pg_temp.hash(i), pg_temp.id('c_', i), now - 1000 FROM generate_series(10001, 60000) i, clock;

INSERT INTO resource (uri, lookup_key, name, scopes, alg, access_ttl, client_id, created_at)
    SELECT 'https://node' || i || '.example/mcp', 'https://node' || i || '.example/mcp', 'node ' || i,
        'mcp:read mcp:call mcp:resources mcp:subscribe', 'EdDSA', 900, pg_temp.id('c_', i), now - 31536000 + i * 3000
    FROM generate_series(1, 10000) i, clock;
INSERT INTO node (client_id, node_id, thumbprint, jwk, name, resource, capabilities, version, enrolled_at, ended_at, ended_by)
    SELECT pg_temp.id('c_', i), pg_temp.id('n_', i), 'thumbprint ' || i,
        '{"crv":"Ed25519","kty":"OKP","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}', 'node ' || i,
        'https://node' || i || '.example/mcp', 'tools resources', '0.1.0', now - 31536000 + i * 3000,
        CASE WHEN i % 3000 = 0 THEN now END, CASE WHEN i % 3000 = 0 THEN 'revoked' END
    FROM generate_series(1, 10000) i, clock;
INSERT INTO node_contact (client_id, heard_at, source, report)
    SELECT pg_temp.id('c_', i), now - CASE WHEN i % 3000 = 1 THEN 86400 ELSE i % 60 END, '192.0.2.7',
        '{"version":"0.1.0","uptime_seconds":3600,"sees":[],"addresses":[],"calls":{"ok":7}}'
    FROM generate_series(1, 10000) i, clock WHERE i % 3000 <> 0;
INSERT INTO node_invite (invite_hash, name, scopes, created_at, expires_at, used_at, used_by)
    SELECT pg_temp.hash(i), 'node ' || i, '', now - 31536000 + i * 3000, now - 31532400 + i * 3000,
        now - 31536000 + i * 3000, pg_temp.id('c_', i)
    FROM generate_series(1, 10000) i, clock;
INSERT INTO initial_access_token (token_hash, name, uses_left, may_act_alone, created_at, expires_at)
    SELECT pg_temp.hash(i), 'invite' || i, 1, FALSE, now - i, now + 86400 FROM generate_series(1, 2000) i, clock;
INSERT INTO approval (approval_id, poll_hash, node_client, tool, summary, arguments, arguments_sha256, caller_iss, caller_sub,
        caller_client, resource, created_at, expires_at, decision, decided_at)
    SELECT pg_temp.id('a_', i), pg_temp.hash(i), pg_temp.id('c_', 1 + i % 10000), 'fs_write', 'Write a file', '{"path":"a"}', 'x',
        'https://as.example', pg_temp.id('u_', 1 + i % 20000), pg_temp.id('c_', 10001 + i % 90000), 'https://node1.example/mcp',
        now - i, CASE WHEN i % 50 = 0 THEN now + 3600 ELSE now - 60 END, CASE WHEN i % 3 = 0 THEN 'approved' END,
        CASE WHEN i % 3 = 0 THEN now END
    FROM generate_series(1, 20000) i, clock;

-- Ten grants of each person, and one of everybody for the busy client.
INSERT INTO access_grant (grant_id, user_id, client_id, resource, scopes, remembered_scopes, created_at, updated_at, revoked_at)
    SELECT pg_temp.id('g_', i), pg_temp.id('u_', 1 + i % 20000),
        pg_temp.id('c_', CASE WHEN i <= 20000 THEN 10001 ELSE 10002 + (i % 20000 + i / 20000 * 7919) % 89000 END),
        'https://node' || 1 + i % 10000 || '.example/mcp', 'mcp:read mcp:call', 'mcp:read mcp:call', now - 15768000 + i * 70,
        now - 3600, CASE WHEN i % 6000 = 0 THEN now - 60 END
    FROM generate_series(1, 220000) i, clock;
-- 250 000 families, 100 000 of them of the busy client and 1 000 of the busy person.
CREATE TEMP TABLE family AS
    SELECT i, CASE WHEN i <= 100000 THEN 1 + i % 20000 WHEN i <= 101000 THEN 20000 * (2 + i % 9) ELSE 20001 + i % 200000 END AS grant_number
    FROM generate_series(1, 250000) i;
INSERT INTO token_family (family_id, grant_id, client_id, user_id, resource, scopes, auth_time, methods, created_at, last_used_at,
        expires_at, revoked_at, revoked_for, status_list, status_index)
    SELECT pg_temp.id('f_', f.i), g.grant_id, g.client_id, g.user_id, g.resource, g.scopes, now - 7000000 + f.i * 20, 'pwd otp',
        now - 7000000 + f.i * 20, now - f.i % 86400, now + 2592000, CASE WHEN f.i % 6000 = 0 THEN now - 60 END,
        CASE WHEN f.i % 6000 = 0 THEN 'an operator revoked it' END, 'l' || f.i / 100000, f.i
    FROM family f JOIN access_grant g ON g.grant_id = pg_temp.id('g_', f.grant_number), clock;
-- A million tokens: each with an access token beside it.
INSERT INTO refresh_token (token_hash, family_id, created_at, expires_at, replaced_at, successor_hash, status_list, status_index)
    SELECT pg_temp.hash(i), pg_temp.id('f_', (i + 3) / 4), now - 900 * (4 - i % 4), now + 864000,
        CASE WHEN i % 4 <> 0 THEN now - 900 END, CASE WHEN i % 4 <> 0 THEN pg_temp.hash(i + 1) END, 'l' || i / 100000, i % 100000
    FROM generate_series(1, 1000000) i, clock;
INSERT INTO status_list (list_id, resource, window_end, part, next_index, changed_at)
    SELECT 'l' || i, 'https://node' || 1 + i || '.example/mcp', now + 3600, 0, 100000, now FROM generate_series(0, 10) i, clock;
INSERT INTO status_block (list_id, first_index, length, client_id)
    SELECT 'l' || i % 10, i * 16, 16, pg_temp.id('c_', 1 + i % 10000) FROM generate_series(1, 60000) i;
INSERT INTO tally (minute, kind, name, count)
    SELECT now / 60 * 60 - m * 60, kind, name, 700 FROM generate_series(1, 1439) m, clock,
        (VALUES ('issued', 'client_credentials'), ('issued', 'authorization_code'), ('issued', 'refresh_token'),
            ('issued', 'device_code'), ('issued', 'token_exchange'), ('refused', 'invalid_grant'), ('refused', 'invalid_client'),
            ('refused', 'invalid_token'), ('refused', 'invalid_request'), ('refused', 'invalid_scope'),
            ('refused', 'insufficient_scope'), ('refused', 'slow_down'), ('answers', ''), ('answer_micros', '')) w (kind, name)
    ON CONFLICT DO NOTHING;

-- A million events, each bound to the one before it (docs/audit.md).
DO $$
DECLARE
    s BIGINT; previous TEXT; digest TEXT; first BIGINT; at BIGINT; named TEXT; who TEXT; what TEXT;
BEGIN
    SELECT sequence, hash INTO first, previous FROM audit_head WHERE id = 1 FOR UPDATE;
    SELECT now INTO at FROM clock;
    FOR s IN first + 1 .. first + 1000000 LOOP
        named := CASE WHEN s % 100000 = 7 THEN 'node.revoked' WHEN s % 4 = 0 THEN 'client.created' ELSE 'grant.revoked' END;
        who := pg_temp.id('c_', CASE WHEN s % 2 = 0 THEN 10001 ELSE 10001 + s % 90000 END);
        what := pg_temp.id('c_', 10001 + s * 7 % 90000);
        digest := translate(rtrim(encode(sha256(convert_to('{"actor":"' || who || '","actor_type":"client","details":{},"event":"' || named
            || '","occurred_at":' || at - 1000000 + s || ',"on_behalf_of":null,"outcome":"done","previous_hash":"' || previous
            || '","reason":null,"sequence":' || s || ',"source":"192.0.2.7","target":"' || what || '","target_type":"client"}',
            'UTF8')), 'base64'), '='), '+/', '-_');
        INSERT INTO audit_event (sequence, occurred_at, event, actor_type, actor, target_type, target, source, outcome, details,
                previous_hash, hash)
            VALUES (s, at - 1000000 + s, named, 'client', who, 'client', what, '192.0.2.7', 'done', '{}', previous, digest);
        previous := digest;
    END LOOP;
    UPDATE audit_head SET sequence = first + 1000000, hash = previous WHERE id = 1;
END $$;
