//! nginx, configured by its recipe: the configuration around the recipe, and the events in its log.

use std::net::{Ipv4Addr, SocketAddrV4};

use camino::Utf8Path;

use super::pages::{Pages, authority};
use crate::base::fs;
use crate::base::process::{self, Command, Running};
use crate::boot_test::boot_event::{BootEvent, EventSink, WebRequest, WebServerRole};
use crate::boot_test::network::TestNetwork;
use crate::boot_test::server;
use crate::boot_test::tools::ServerTools;

/// Folder that nginx serves, in its working directory. The recipe is written for this folder: nginx resolves relative
/// paths against its working directory, so the configuration contains no path of this machine.
pub const SERVED: &str = "www";
/// The recipe, in nginx's working directory.
const GIVEN: &str = "nginx-given.conf";
/// Configuration that includes the recipe.
const CONFIGURATION: &str = "nginx.conf";

/// Configuration around the recipe: one process in the foreground, running as the user who started it, whose logs the
/// boot test reads.
const AROUND: &str = "\
daemon off;
master_process off;
pid nginx.pid;
error_log stderr;
events {}
http {
    log_format case '$server_addr:$server_port $request_method $http_host $request_uri $status $body_bytes_sent';
    access_log /dev/stdout case;
    client_body_temp_path nginx-body;
    proxy_temp_path nginx-proxy;
    fastcgi_temp_path nginx-fastcgi;
    uwsgi_temp_path nginx-uwsgi;
    scgi_temp_path nginx-scgi;
    include nginx-given.conf;
}
";

/// Writes the configuration `given`, and the files of `pages` that are below the tree's URL, into `folder`.
pub(super) fn write_config(
    given: &str,
    pages: &Pages,
    network: &TestNetwork,
    folder: &Utf8Path,
) -> Result<(), fs::Error> {
    fs::write_atomic(&folder.join(GIVEN), given.as_bytes())?;
    fs::write_atomic(&folder.join(CONFIGURATION), AROUND.as_bytes())?;
    write_pages(pages, network, folder)
}

/// Writes the files of `pages` that are below the tree's URL into [`SERVED`] in `folder`.
pub(super) fn write_pages(pages: &Pages, network: &TestNetwork, folder: &Utf8Path) -> Result<(), fs::Error> {
    let served = folder.join(SERVED);
    fs::create_dir_all(&served)?;
    for (url, content) in pages.iter() {
        if let Some(path) = network.below_tree(url) {
            fs::write_atomic(&served.join(path), content)?;
        }
    }
    Ok(())
}

/// Starts nginx in `folder`, which [`write_config`] has filled.
pub(super) fn start(
    tools: &ServerTools,
    network: &TestNetwork,
    folder: &Utf8Path,
    sink: &EventSink,
) -> Result<Running, process::Error> {
    let command = Command::new("serve HTTP", tools.nginx.as_str());
    let command = command.args(["-p", folder.as_str(), "-e", "stderr", "-c", CONFIGURATION]);
    let network = network.clone();
    server::start("nginx", command, folder, move |line| parse(line, &network), sink)
}

/// Parses the event in a line of the log.
fn parse(line: &str, network: &TestNetwork) -> Option<BootEvent> {
    let mut words = line.split(' ');
    let bound: SocketAddrV4 = words.next()?.parse().ok()?;
    let (method, host, path) = (words.next()?, words.next()?, words.next()?);
    let status: u16 = words.next()?.parse().ok()?;
    if method == "HEAD" && status == 200 {
        // A HEAD request asks about a file, and does not fetch it.
        return None;
    }
    let server = whose(*bound.ip(), bound.port(), network);
    let authority = authority(server, (*bound.ip(), bound.port()), 80, Some(host));
    Some(BootEvent::Asked(WebRequest { server, url: format!("http://{authority}{path}"), status }))
}

/// Returns which server listens on `port` of `address`.
pub(super) fn whose(address: Ipv4Addr, port: u16, network: &TestNetwork) -> WebServerRole {
    match address {
        _ if port != network.port => WebServerRole::Elsewhere,
        address if address == network.server => WebServerRole::NextServer,
        address if address == network.web => WebServerRole::Other,
        _ => WebServerRole::Elsewhere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_log_says_who_was_asked_for_what() {
        let told = |line: &str| match parse(line, &TestNetwork::default()) {
            Some(BootEvent::Asked(WebRequest { server, url, status })) => Some((server, url, status)),
            _ => None,
        };
        let at = |server, url: &str, status| Some((server, url.to_owned(), status));
        assert_eq!(
            told("192.0.2.2:80 GET 192.0.2.2 /tftp/vmlinuz 200 9"),
            at(WebServerRole::Other, "http://192.0.2.2/tftp/vmlinuz", 200)
        );
        // `syslinux.efi` contacts one server, and sends the name of another one.
        assert_eq!(
            told("192.0.2.1:80 GET 192.0.2.2 /a 404 9"),
            at(WebServerRole::NextServer, "http://192.0.2.1/a", 404)
        );
        assert_eq!(
            told("198.51.100.1:80 GET boot.example.org /a 200 9"),
            at(WebServerRole::Elsewhere, "http://boot.example.org/a", 200)
        );
        assert_eq!(told("192.0.2.2:80 HEAD 192.0.2.2 /a 200 0"), None);
        assert_eq!(told("2026/11/23 04:00:00 [emerg] 1#1: bind() to 0.0.0.0:80 failed"), None);
    }
}
