//! What events are called (docs/audit.md).

/// What happened, by the name under which the program's log has it too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Name {
    /// A refresh token came back after its time; its family ended.
    RefreshTokenReplayed,
    /// A code was redeemed twice; what came of it ended.
    AuthorizationCodeReplayed,
    /// The same of a device code.
    DeviceCodeReplayed,
    /// Somebody made an invite for a node.
    NodeInvited,
    /// An invite was taken back before a node used it.
    NodeInviteWithdrawn,
    /// A node became a member, with an invite.
    NodeEnrolled,
    /// An operator cut a node off.
    NodeRevoked,
    /// A person answered for a call.
    ApprovalDecided,
    /// An answer that lets this server do something was used up.
    ApprovalUsed,
    /// An operator registered a resource.
    ResourceCreated,
    /// An operator changed a resource.
    ResourceUpdated,
    /// A resource was forgotten.
    ResourceDeleted,
    /// An operator made a client.
    ClientCreated,
    /// An operator changed a client.
    ClientUpdated,
    /// An operator gave a client a new secret.
    ClientSecretRotated,
    /// An operator revoked a client.
    ClientRevoked,
    /// An operator brought a client's metadata document.
    ClientImported,
    /// An operator let a pinned document be fetched again.
    ClientUnpinned,
    /// An operator made an invite to register clients.
    ClientInvited,
    /// An operator ended such an invite.
    ClientInviteRevoked,
    /// An operator ended a grant.
    GrantRevoked,
    /// An operator ended the tokens of a code.
    TokensRevoked,
    /// An operator made an account.
    UserCreated,
    /// An operator changed an account.
    UserUpdated,
    /// An operator took a password away, or set another.
    UserPasswordReset,
    /// An operator closed an account.
    UserDisabled,
    /// An operator opened an account again.
    UserEnabled,
    /// An operator signed a browser out.
    SessionEnded,
    /// A signing key was made, and will sign.
    KeyPublished,
    /// A signing key took over from another.
    KeyRotated,
    /// A signing key was removed, as all that it signed was over.
    KeyRemoved,
    /// A signing key was taken out at once, with all that it signed.
    KeyCompromised,
    /// The configuration was read again.
    ConfigurationReloaded,
    /// Events whose time was over were removed.
    AuditPruned,
    /// An operator filled an empty database from a backup.
    DatabaseRestored,
}

impl Name {
    /// All of them, in the order of docs/audit.md.
    pub(crate) const ALL: [Self; 35] = [
        Self::RefreshTokenReplayed,
        Self::AuthorizationCodeReplayed,
        Self::DeviceCodeReplayed,
        Self::NodeInvited,
        Self::NodeInviteWithdrawn,
        Self::NodeEnrolled,
        Self::NodeRevoked,
        Self::ApprovalDecided,
        Self::ApprovalUsed,
        Self::ResourceCreated,
        Self::ResourceUpdated,
        Self::ResourceDeleted,
        Self::ClientCreated,
        Self::ClientUpdated,
        Self::ClientSecretRotated,
        Self::ClientRevoked,
        Self::ClientImported,
        Self::ClientUnpinned,
        Self::ClientInvited,
        Self::ClientInviteRevoked,
        Self::GrantRevoked,
        Self::TokensRevoked,
        Self::UserCreated,
        Self::UserUpdated,
        Self::UserPasswordReset,
        Self::UserDisabled,
        Self::UserEnabled,
        Self::SessionEnded,
        Self::KeyPublished,
        Self::KeyRotated,
        Self::KeyRemoved,
        Self::KeyCompromised,
        Self::ConfigurationReloaded,
        Self::AuditPruned,
        Self::DatabaseRestored,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::RefreshTokenReplayed => "refresh_token_replayed",
            Self::AuthorizationCodeReplayed => "authorization_code_replayed",
            Self::DeviceCodeReplayed => "device_code_replayed",
            Self::NodeInvited => "node.invited",
            Self::NodeInviteWithdrawn => "node.invite_withdrawn",
            Self::NodeEnrolled => "node.enrolled",
            Self::NodeRevoked => "node.revoked",
            Self::ApprovalDecided => "approval.decided",
            Self::ApprovalUsed => "approval.used",
            Self::ResourceCreated => "resource.created",
            Self::ResourceUpdated => "resource.updated",
            Self::ResourceDeleted => "resource.deleted",
            Self::ClientCreated => "client.created",
            Self::ClientUpdated => "client.updated",
            Self::ClientSecretRotated => "client.secret_rotated",
            Self::ClientRevoked => "client.revoked",
            Self::ClientImported => "client.imported",
            Self::ClientUnpinned => "client.unpinned",
            Self::ClientInvited => "client.invited",
            Self::ClientInviteRevoked => "client.invite_revoked",
            Self::GrantRevoked => "grant.revoked",
            Self::TokensRevoked => "tokens.revoked",
            Self::UserCreated => "user.created",
            Self::UserUpdated => "user.updated",
            Self::UserPasswordReset => "user.password_reset",
            Self::UserDisabled => "user.disabled",
            Self::UserEnabled => "user.enabled",
            Self::SessionEnded => "session.ended",
            Self::KeyPublished => "key.published",
            Self::KeyRotated => "key.rotated",
            Self::KeyRemoved => "key.removed",
            Self::KeyCompromised => "key.compromised",
            Self::ConfigurationReloaded => "configuration.reloaded",
            Self::AuditPruned => "audit.pruned",
            Self::DatabaseRestored => "database.restored",
        }
    }
}
