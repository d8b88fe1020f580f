use super::*;
use crate::config::NodeConfig;

fn read(upstreams: &str) -> Result<Vec<UpstreamConfig>, String> {
    let text = format!("[[issuer]]\nurl = \"http://localhost:9000\"\n{upstreams}");
    NodeConfig::from_text(&text)
        .map(|config| config.upstreams)
        .map_err(|faults| faults.to_string())
}

#[test]
fn a_program_and_an_address() {
    let upstreams = read(
        "[[upstream]]\nname = \"files\"\ncommand = \"npx\"\nargs = [\"-y\", \"server, with comma\"]\n\
         pass_env = [\"EDITOR\"]\nenv = { A = \"b\" }\n\
         [[upstream]]\nname = \"far\"\nprefix = \"\"\nurl = \"https://mcp.example/mcp\"\nidentity = \"headers\"\n\
         call_timeout = \"5s\"\nheader_files = { Authorization = \"token\" }\n",
    )
    .unwrap();
    let [files, far] = &*upstreams else {
        panic!("{upstreams:?}")
    };
    assert_eq!(
        (&*files.name, &*files.prefix, files.identity),
        ("files", "files", IdentityForm::Meta)
    );
    let UpstreamTransport::Program(program) = &files.transport else {
        panic!("{files:?}")
    };
    assert_eq!(program.args, ["-y", "server, with comma"]);
    assert_eq!((&*program.env["A"], &*program.pass_env[0]), ("b", "EDITOR"));
    assert_eq!((&*far.prefix, far.call_timeout), ("", Duration::from_secs(5)));
    let UpstreamTransport::Http {
        url, header_files, ..
    } = &far.transport
    else {
        panic!("{far:?}")
    };
    assert_eq!(url.as_str(), "https://mcp.example/mcp");
    assert_eq!(header_files["Authorization"].to_str(), Some("token"));
}

#[test]
fn every_fault_is_told() {
    let faults = read(
        "[[upstream]]\nname = \"Files\"\ncommand = \"x\"\nidentity = \"headers\"\nplain_http = true\n\
         [[upstream]]\nname = \"a\"\nurl = \"http://10.0.0.1/mcp\"\nargs = [\"x\"]\n\
         [[upstream]]\nname = \"b\"\nprefix = \"a\"\nurl = \"https://u:p@mcp.example/mcp\"\n\
         header_files = { Host = \"x\" }\n\
         [[upstream]]\nname = \"c\"\n\
         [[upstream]]\nname = \"d\"\ncommand = \"x\"\nurl = \"https://mcp.example\"\n\
         [[upstream]]\nname = \"e\"\ncommand = \"x\"\nconcurrency = 0\ncall_timeout = \"9m\"\ncall_limit = \"1m\"\nuser = \"no such user\"\n",
    )
    .unwrap_err();
    for part in [
        "upstream.0.name",
        "upstream.0.identity",
        "upstream.0.plain_http",
        "upstream.1.url",
        "upstream.1.args",
        "upstream.2.prefix",
        "upstream.2.url",
        "upstream.2.header_files",
        "upstream.3.command",
        "upstream.4.url",
        "upstream.5.concurrency",
        "upstream.5.call_limit",
        "upstream.5.user",
    ] {
        assert!(faults.contains(part), "{part}: {faults}");
    }
    let twice = "[[upstream]]\nname = \"a\"\nprefix = \"\"\ncommand = \"x\"\n[[upstream]]\nname = \"b\"\nprefix = \"\"\ncommand = \"x\"\n";
    assert!(read(twice).unwrap_err().contains("only one upstream"));
}

#[test]
fn plain_http_leaves_the_machine_only_when_told_to() {
    let with = |more: &str| {
        read(&format!(
            "[[upstream]]\nname = \"a\"\nurl = \"http://tools:3001/mcp\"\n{more}"
        ))
    };
    assert!(with("").is_err());
    assert!(with("plain_http = true\n").is_ok());
    assert!(read("[[upstream]]\nname = \"a\"\nurl = \"http://127.0.0.1:3001/mcp\"\n").is_ok());
}
