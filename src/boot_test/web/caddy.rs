//! Caddy, configured by its recipe: the configuration around the recipe, and the events in its log.

use camino::Utf8Path;
use serde_json::{Value, json};

use super::error::Error;
use super::nginx::{self, whose};
use super::pages::{Pages, authority};
use crate::base::fs;
use crate::base::process::{Command, Running};
use crate::base::progress::Progress;
use crate::boot_test::boot_event::{BootEvent, EventSink, WebRequest};
use crate::boot_test::network::TestNetwork;
use crate::boot_test::server;
use crate::boot_test::tools::ServerTools;

/// The recipe, in Caddy's working directory.
const GIVEN: &str = "Caddyfile";
/// The configuration that is made of it, in the same folder.
const CONFIGURATION: &str = "caddy.json";

/// Starts Caddy in `folder` with the configuration `given`, to serve the files of `pages` that are below the tree's URL.
pub(super) fn start(
    given: &str,
    pages: &Pages,
    (tools, network): (&ServerTools, &TestNetwork),
    folder: &Utf8Path,
    (sink, progress): (&EventSink, &dyn Progress),
) -> Result<Running, Error> {
    nginx::write_pages(pages, network, folder)?;
    fs::write_atomic(&folder.join(GIVEN), given.as_bytes())?;
    let caddy = |purpose, words: &[&str]| {
        let command = Command::new(purpose, tools.caddy.as_str()).args(words.iter().copied());
        let command = command.env("HOME", folder.as_str());
        Command { dir: Some(folder.to_owned()), ..command }
    };
    let adapt = caddy("read the configuration of Caddy", &["adapt", "--adapter", "caddyfile", "--config", GIVEN]);
    let adapted = adapt.output(progress)?.join("\n");
    let configuration = around(&adapted).ok_or(Error::NotConfiguration(adapted))?;
    fs::write_atomic(&folder.join(CONFIGURATION), configuration.to_string().as_bytes())?;
    let network = network.clone();
    let command = caddy("serve HTTP", &["run", "--config", CONFIGURATION]);
    Ok(server::start("Caddy", command, folder, move |line| parse(line, &network), sink)?)
}

/// Returns the configuration `adapted`, which Caddy has made of a Caddyfile, with the settings that the boot test needs: no
/// administration over the network, nothing kept, and a log of all requests on standard output.
fn around(adapted: &str) -> Option<Value> {
    let mut value: Value = serde_json::from_str(adapted).ok()?;
    for server in value.pointer_mut("/apps/http/servers")?.as_object_mut()?.values_mut() {
        server.as_object_mut()?.insert("logs".into(), json!({}));
    }
    let all = value.as_object_mut()?;
    all.insert("admin".into(), json!({ "disabled": true, "config": { "persist": false } }));
    let log = json!({ "writer": { "output": "stdout" }, "encoder": { "format": "json" } });
    all.insert("logging".into(), json!({ "logs": { "default": log } }));
    Some(value)
}

/// Parses the event in a line of the log, which names the address that was asked only as the client wrote it.
fn parse(line: &str, network: &TestNetwork) -> Option<BootEvent> {
    let value: Value = serde_json::from_str(line).ok()?;
    let text = |key: &str| value.pointer(key)?.as_str();
    let status = u16::try_from(value.get("status")?.as_u64()?).ok()?;
    let (method, host, uri) = (text("/request/method")?, text("/request/host")?, text("/request/uri")?);
    if method == "HEAD" && status == 200 {
        // A HEAD request asks about a file, and does not fetch it.
        return None;
    }
    let (name, port) = host.split_once(':').unwrap_or((host, "80"));
    let (address, port) = (name.parse().unwrap_or(std::net::Ipv4Addr::UNSPECIFIED), port.parse().ok()?);
    let server = whose(address, port, network);
    let authority = authority(server, (address, port), 80, Some(host));
    Some(BootEvent::Asked(WebRequest { server, url: format!("http://{authority}{uri}"), status }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot_test::boot_event::WebServerRole;

    #[test]
    fn a_line_of_the_log_says_who_was_asked_for_what() {
        let line = |method: &str, host: &str, status: u16| {
            let request = json!({ "method": method, "host": host, "uri": "/tftp/a?b=c" });
            json!({ "msg": "handled request", "request": request, "status": status }).to_string()
        };
        let told = |line: &str| match parse(line, &TestNetwork::default()) {
            Some(BootEvent::Asked(WebRequest { server, url, status })) => Some((server, url, status)),
            _ => None,
        };
        let at = |server, url: &str, status| Some((server, url.to_owned(), status));
        assert_eq!(told(&line("GET", "192.0.2.2", 200)), at(WebServerRole::Other, "http://192.0.2.2/tftp/a?b=c", 200));
        assert_eq!(
            told(&line("HEAD", "boot.example.org:8080", 404)),
            at(WebServerRole::Elsewhere, "http://boot.example.org:8080/tftp/a?b=c", 404)
        );
        assert_eq!((told(&line("HEAD", "192.0.2.2", 200)), told("{}"), told("serving")), (None, None, None));
    }

    #[test]
    fn a_recipe_is_kept_and_its_requests_are_logged() {
        let adapted = r#"{"apps":{"http":{"servers":{"srv0":{"listen":[":80"],"routes":[{"terminal":true}]}}}}}"#;
        let value = around(adapted).unwrap();
        assert_eq!(value.pointer("/apps/http/servers/srv0/routes/0/terminal"), Some(&Value::Bool(true)));
        assert_eq!(value.pointer("/apps/http/servers/srv0/logs"), Some(&json!({})));
        assert_eq!(value.pointer("/admin/disabled"), Some(&Value::Bool(true)));
        assert_eq!((around("{}"), around("no JSON")), (None, None));
    }
}
