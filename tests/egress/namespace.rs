//! Runs a test in network and mount namespaces of its own: the test's binary is started again inside them.

use std::env;
use std::fs;
use std::process::{Command, Output};

/// Set inside.
const INSIDE: &str = "BARNABAS_IN_NAMESPACE";
/// Set by CI: where namespaces are not permitted, the test fails instead of being skipped.
const REQUIRED: &str = "BARNABAS_TEST_NAMESPACES";

/// Runs `inside` in new namespaces; `test` is the calling test's full name.
pub fn enter(test: &str, inside: impl FnOnce()) {
    if env::var_os(INSIDE).is_some() {
        return inside();
    }
    if let Err(reason) = permitted() {
        let text = format!("{test} needs namespaces (unshare -rnm) and ip: {reason}");
        assert!(env::var(REQUIRED).as_deref() != Ok("required"), "{text}");
        eprintln!("SKIPPED: {text}");
        return;
    }
    let mut again = unshare();
    again.arg(env::current_exe().unwrap()).args([test, "--exact", "--nocapture"]).env(INSIDE, "1");
    let output = again.output().unwrap();
    let text = text_of(&output);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

fn permitted() -> Result<(), String> {
    let output = unshare().args(["ip", "link", "set", "lo", "up"]).output();
    let output = output.map_err(|error| format!("unshare: {error}"))?;
    if output.status.success() { Ok(()) } else { Err(text_of(&output)) }
}

fn unshare() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--net", "--mount", "--kill-child", "--fork", "--"]);
    command
}

fn text_of(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&both).into_owned()
}

/// Brings the network up. `local` addresses can be listened on and are on no interface; `own` ones are on one.
pub fn set_up(local: &[&str], own: &[&str]) {
    run("ip", &["link", "set", "lo", "up"]);
    for address in local {
        let family = if address.contains(':') { "-6" } else { "-4" };
        run("ip", &[family, "route", "add", "local", address, "dev", "lo"]);
    }
    for address in own {
        run("ip", &["address", "add", address, "dev", "lo"]);
    }
}

/// Puts other content in a file's place, for this namespace alone.
pub fn replace(path: &str, content: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("content");
    fs::write(&file, content).unwrap();
    run("mount", &["--bind", file.to_str().unwrap(), path]);
}

/// Whether there is IPv6 here at all.
pub fn has_ipv6() -> bool {
    fs::metadata("/proc/net/if_inet6").is_ok()
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", text_of(&output));
}
