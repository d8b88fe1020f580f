//! MCP clients as they are known to behave in the autumn of 2026, from their makers' documents and metadata.

/// How a client makes itself known to a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// By the address of its metadata (draft-ietf-oauth-client-id-metadata-document).
    Document(&'static str),
    /// By registering (RFC 7591).
    Registration,
}

/// What a client insists on beyond the specification.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Insists {
    /// `authorization_response_iss_parameter_supported` (RFC 9207 §3).
    Issuer,
    /// Uses its document only where metadata list `none` among the authentication methods.
    None,
    /// Asks for `offline_access`, and has no refresh token without it.
    Offline,
    /// Reads everything from a page: CORS on all of it.
    Browser,
}

/// One client.
#[derive(Debug)]
pub(crate) struct RealClient {
    pub(crate) name: &'static str,
    /// In the order in which it tries them.
    pub(crate) ways: &'static [Way],
    /// Where it waits for the code; the port is one of many.
    pub(crate) redirect_uri: &'static str,
    /// Whether it asks from its maker's network, and not from the user's machine.
    pub(crate) is_hosted: bool,
    pub(crate) insists: &'static [Insists],
}

/// Those that are played.
pub(crate) const KNOWN: &[RealClient] = &[
    RealClient {
        name: "Claude Code",
        ways: &[
            Way::Document("https://claude.ai/oauth/claude-code-client-metadata"),
            Way::Registration,
        ],
        redirect_uri: "http://localhost:54212/callback",
        is_hosted: false,
        insists: &[Insists::Offline],
    },
    RealClient {
        name: "claude.ai, Claude Desktop and mobile",
        ways: &[
            Way::Document("https://claude.ai/oauth/mcp-oauth-client-metadata"),
            Way::Registration,
        ],
        redirect_uri: "https://claude.ai/api/mcp/auth_callback",
        is_hosted: true,
        insists: &[Insists::None],
    },
    RealClient {
        name: "ChatGPT",
        ways: &[
            Way::Document("https://chatgpt.com/oauth/client.json"),
            Way::Registration,
        ],
        redirect_uri: "https://chatgpt.com/connector_platform_oauth_redirect",
        is_hosted: true,
        insists: &[Insists::Issuer],
    },
    RealClient {
        name: "Codex CLI",
        ways: &[Way::Registration],
        redirect_uri: "http://127.0.0.1:54213/callback",
        is_hosted: false,
        insists: &[],
    },
    RealClient {
        name: "VS Code",
        ways: &[
            Way::Registration,
            Way::Document("https://vscode.dev/oauth/client-metadata.json"),
        ],
        redirect_uri: "http://127.0.0.1:33418/",
        is_hosted: false,
        insists: &[],
    },
    RealClient {
        name: "Cursor",
        ways: &[Way::Registration],
        redirect_uri: "http://localhost:8787/callback",
        is_hosted: false,
        insists: &[],
    },
    RealClient {
        name: "Gemini CLI",
        ways: &[Way::Registration],
        redirect_uri: "http://localhost:54214/oauth/callback",
        is_hosted: false,
        insists: &[],
    },
    RealClient {
        name: "Zed",
        ways: &[
            Way::Document("https://zed.dev/oauth/client-metadata.json"),
            Way::Registration,
        ],
        redirect_uri: "http://127.0.0.1:54215/callback",
        is_hosted: false,
        insists: &[],
    },
    RealClient {
        name: "mcp-remote",
        ways: &[Way::Registration],
        redirect_uri: "http://localhost:3334/oauth/callback",
        is_hosted: false,
        insists: &[],
    },
    RealClient {
        name: "MCP Inspector",
        ways: &[Way::Registration],
        redirect_uri: "http://localhost:6274/oauth/callback",
        is_hosted: false,
        insists: &[Insists::Browser],
    },
];
