//! TLS in front of the boot test's own web servers: nginx with a given certificate, as most people use it.

use camino::Utf8Path;

use crate::base::fs;
use crate::base::process::{self, Command, Running};
use crate::boot_test::boot_event::EventSink;
use crate::boot_test::network::Tls;
use crate::boot_test::server;
use crate::boot_test::tools::ServerTools;

/// Configuration, in nginx's working directory.
const CONFIGURATION: &str = "tls.conf";
/// Certificate, in the same folder.
const CERTIFICATE: &str = "tls.pem";
/// Private key of the certificate, in the same folder.
const KEY: &str = "tls.key";

/// Writes the files that nginx needs for TLS on `ports` into `folder`.
pub(super) fn write_config(tls: &Tls, ports: &[u16], folder: &Utf8Path) -> Result<(), fs::Error> {
    fs::write_atomic(&folder.join(CONFIGURATION), configuration(ports).as_bytes())?;
    fs::write_atomic(&folder.join(CERTIFICATE), tls.certificate.as_bytes())?;
    fs::write_atomic(&folder.join(KEY), tls.key.as_bytes())
}

/// Starts nginx in `folder`, which [`write_config`] has filled.
pub(super) fn start(tools: &ServerTools, folder: &Utf8Path, sink: &EventSink) -> Result<Running, process::Error> {
    let command = Command::new("serve HTTPS", tools.nginx.as_str());
    let command = command.args(["-p", folder.as_str(), "-e", "stderr", "-c", CONFIGURATION]);
    // The server behind it reports the requests.
    server::start("nginx", command, folder, |_| None, sink)
}

/// Returns the configuration of one process in the foreground. On each of `ports`, it terminates TLS and forwards
/// requests to the server that listens there on the loopback address: of two sockets with one port, the one with the
/// more specific address gets the connection.
fn configuration(ports: &[u16]) -> String {
    let server = |port: &u16| {
        format!(
            "    server {{
        listen {port} ssl reuseport;
        ssl_certificate {CERTIFICATE};
        ssl_certificate_key {KEY};
        location / {{
            proxy_pass http://127.0.0.1:{port};
            proxy_set_header Host $http_host;
            proxy_max_temp_file_size 0;
        }}
    }}
"
        )
    };
    let servers: String = ports.iter().map(server).collect();
    format!(
        "daemon off;
master_process off;
pid tls.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path tls-body;
    proxy_temp_path tls-proxy;
    fastcgi_temp_path tls-fastcgi;
    uwsgi_temp_path tls-uwsgi;
    scgi_temp_path tls-scgi;
{servers}}}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_port_has_a_server_that_hands_on() {
        let text = configuration(&[443, 8443]);
        assert_eq!(text.matches(" ssl reuseport;\n").count(), 2);
        assert!(
            text.contains("listen 8443 ssl reuseport;") && text.contains("proxy_pass http://127.0.0.1:8443;"),
            "{text}"
        );
    }
}
