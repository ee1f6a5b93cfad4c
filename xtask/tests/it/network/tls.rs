//! Untrusted certificates, and downgrades from HTTPS.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use netboot_fixtures::project::{CliOutput, Project};
use netboot_fixtures::server::TestServer;

netboot_fixtures::tests! {
    a_certificate_of_a_private_authority_is_refused_at_once_and_counts_when_named,
    a_proxy_whose_certificate_is_refused_is_asked_once,
    a_certificate_of_another_host_is_refused,
    a_certificate_that_is_an_authority_s_own_is_told,
    a_list_of_authorities_that_is_none_is_told,
    https_does_not_become_http_by_a_redirect,
}

/// An HTTPS server with its own certificate authority, which runs as long as the test program.
struct Https {
    port: u16,
    /// Certificate of the authority.
    authority: String,
    connections: Arc<AtomicUsize>,
}

impl Https {
    /// Starts a server for `name`. `answer` returns the whole reply to a request for a path.
    fn start(name: &str, answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let mut parameters = CertificateParams::new([]).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
        Self::serve(authority.pem(), certificate.der().clone(), &key, answer)
    }

    /// Starts a server with this `certificate`, which `authority` has issued.
    fn serve(
        authority: String,
        certificate: CertificateDer<'static>,
        key: &KeyPair,
        answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
        let (config, answer) = (Arc::new(config), Arc::new(answer));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, connections) = (listener.local_addr().unwrap().port(), Arc::<AtomicUsize>::default());
        let seen = Arc::clone(&connections);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                seen.fetch_add(1, Ordering::SeqCst);
                let (config, answer) = (Arc::clone(&config), Arc::clone(&answer));
                std::thread::spawn(move || serve(stream.unwrap(), config, &*answer));
            }
        });
        Self { port, authority, connections }
    }

    fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.port)
    }
}

fn serve(stream: TcpStream, config: Arc<ServerConfig>, answer: &dyn Fn(&str) -> Vec<u8>) {
    let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        // A client that refuses the certificate has closed the connection.
        if !matches!(stream.read(&mut byte), Ok(1)) {
            return;
        }
        request.push(byte[0]);
    }
    let request = String::from_utf8(request).unwrap();
    let path = request.split(' ').nth(1).unwrap();
    let _ = stream.write_all(&answer(path)).and_then(|()| stream.flush());
    stream.conn.send_close_notify();
    let _ = stream.flush();
}

fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// Fetches syslinux from `url`, trusting the authority of `server` if there is one.
fn fetch(project: &Project, url: &str, server: Option<&Https>) -> CliOutput {
    let ipxe = project.path("ipxe");
    let mut command = project.command(["fetch", "--ipxe-url", ipxe.as_str(), "--syslinux-archive", url]);
    command.env_remove("SSL_CERT_FILE").env_remove("SSL_CERT_DIR").env("no_proxy", "*");
    if let Some(server) = server {
        project.write("ca.pem", &server.authority);
        command.env("SSL_CERT_FILE", project.path("ca.pem"));
    }
    CliOutput::from(command.output().unwrap())
}

fn archive(project: &Project) -> impl Fn(&str) -> Vec<u8> + use<> {
    let archive = project.read("syslinux.zip");
    move |_: &str| answer("200 OK", "", &archive)
}

const STORE: &str = "if it is right, add the authority that signed it to the system's certificates, or name a file of \
                     certificates in `SSL_CERT_FILE`";

fn a_certificate_of_a_private_authority_is_refused_at_once_and_counts_when_named() {
    let project = Project::new();
    let server = Https::start("127.0.0.1", archive(&project));
    let url = server.url("/syslinux.zip");
    assert_eq!(
        fetch(&project, &url, None).error(5),
        format!(
            "cannot download `{url}`: the certificate of `127.0.0.1` is refused: no authority that this system trusts has \
             signed it\nhint: {STORE}\nhint: or give the release archive with `--syslinux-archive`\n\
             help: cargo xtask help closed-network\n"
        )
    );
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
    fetch(&project, &url, Some(&server)).success();

    // The same by git, which runs in a separate process.
    let url = server.url("/ipxe.git");
    let project = Project::new();
    let mut command = project.command(["fetch", "--ipxe-url", &url]);
    let git =
        |command: &mut std::process::Command| CliOutput::from(command.env("no_proxy", "*").output().unwrap()).error(5);
    command.env_remove("SSL_CERT_FILE").env_remove("SSL_CERT_DIR");
    let start = format!("cannot fetch from `{url}`: the certificate of `127.0.0.1` is refused: ");
    let refused = git(&mut command);
    assert!(refused.starts_with(&start), "{refused}");
    let end = format!(
        "hint: {STORE}\nhint: or name a mirror or a local clone with `--ipxe-url`\n\
         help: cargo xtask help closed-network\n"
    );
    assert!(refused.ends_with(&end), "{refused}");
    project.write("ca.pem", &server.authority);
    let known = git(command.env("SSL_CERT_FILE", project.path("ca.pem")));
    assert!(known.contains("this is not a git repository"), "{known}");
}

fn a_proxy_whose_certificate_is_refused_is_asked_once() {
    let project = Project::new();
    let server = Https::start("127.0.0.1", archive(&project));
    let proxy = format!("https://127.0.0.1:{}", server.port);
    let ipxe = project.path("ipxe");
    let url = "https://192.0.2.1/syslinux.zip";
    let mut command = project.command(["fetch", "--ipxe-url", ipxe.as_str(), "--syslinux-archive", url]);
    command.env_remove("SSL_CERT_FILE").env_remove("SSL_CERT_DIR").env_remove("no_proxy").env("https_proxy", &proxy);
    let error = CliOutput::from(command.output().unwrap()).error(5);
    let wanted = format!(
        "cannot download `{url}`: the proxy `{proxy}` in `https_proxy`: its certificate is refused: no authority that this \
         system trusts has signed it\nhint: check `https_proxy`, or name a file of certificates with the proxy's authority \
         in `SSL_CERT_FILE`\n"
    );
    assert!(error.starts_with(&wanted), "{error}");
}

fn a_certificate_of_another_host_is_refused() {
    let project = Project::new();
    let server = Https::start("mirror.example.org", archive(&project));
    let url = server.url("/syslinux.zip");
    assert_eq!(
        fetch(&project, &url, Some(&server)).error(5),
        format!(
            "cannot download `{url}`: the certificate of `127.0.0.1` is refused: it is another host's\n\
             hint: check the address and the clock of this machine\nhint: or give the release archive with `--syslinux-archive`\n"
        )
    );
}

/// What `openssl req -x509` makes without further options.
fn a_certificate_that_is_an_authority_s_own_is_told() {
    let project = Project::new();
    let mut parameters = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    let server = Https::serve(certificate.pem(), certificate.der().clone(), &key, archive(&project));
    let url = server.url("/syslinux.zip");
    let refused = fetch(&project, &url, Some(&server)).error(5);
    let wanted = format!(
        "cannot download `{url}`: the certificate of `127.0.0.1` is refused: it is that of an authority, which cannot be a \
         server's as well\nhint: give the server a certificate that the authority has issued, with `basicConstraints = \
         CA:FALSE`\n"
    );
    assert!(refused.starts_with(&wanted), "{refused}");
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

fn a_list_of_authorities_that_is_none_is_told() {
    let project = Project::new();
    project.write("text.pem", "no certificate");
    std::fs::create_dir(project.path("folder")).unwrap();
    let ca = include_str!("../../../../fixtures/ca.pem");
    project.write("bom.pem", &format!("\u{feff}{ca}")).write("cut.pem", &ca[..ca.len() / 2]);
    std::fs::File::create(project.path("large.pem")).unwrap().set_len(9 << 20).unwrap();
    for (name, found) in [
        ("gone.pem", " names `FILE`: found no such file, wanted certificates in PEM"),
        ("text.pem", " names `FILE`: found no certificate in it, wanted certificates in PEM"),
        (
            "bom.pem",
            " names `FILE`: found a certificate in it that is not whole, or does not begin its line, wanted \
             certificates in PEM",
        ),
        (
            "cut.pem",
            " names `FILE`: found a certificate in it that is not whole, or does not begin its line, wanted \
             certificates in PEM",
        ),
        ("folder", ": cannot read `FILE`: Is a directory (os error 21)"),
        ("large.pem", ": cannot read `FILE`: it has 9437184 bytes, wanted 8388608 at most"),
    ] {
        let file = project.path(name);
        let refused = |option: &str, url: &str| {
            // Nothing is in its cache.
            let project = Project::new();
            let [ipxe, archive] = ["ipxe", "syslinux.zip"].map(|name| project.path(name).into_string());
            let given = |of: &str, local: String| if of == option { url.to_owned() } else { local };
            let (ipxe, archive) = (given("--ipxe-url", ipxe), given("--syslinux-archive", archive));
            let mut command = project.command(["fetch", "--ipxe-url", &ipxe, "--syslinux-archive", &archive]);
            command.env("SSL_CERT_FILE", &file).env("no_proxy", "*");
            CliOutput::from(command.output().unwrap()).error(5).replace(file.as_str(), "FILE")
        };
        for (option, verb) in [("--syslinux-archive", "download"), ("--ipxe-url", "fetch from")] {
            let error = refused(option, "https://127.0.0.1:1/a");
            let wanted = format!(
                "cannot {verb} `https://127.0.0.1:1/a`: `SSL_CERT_FILE`{found}\nhint: correct `SSL_CERT_FILE`, or unset it\n"
            );
            assert!(error.starts_with(&wanted), "{error}");
            // Without TLS, nobody looks at it; that server is asked five times.
            assert!(name != "gone.pem" || !refused(option, "http://127.0.0.1:1/a").contains("SSL_CERT_FILE"));
        }
    }
}

fn https_does_not_become_http_by_a_redirect() {
    let project = Project::new();
    let content = project.read("syslinux.zip");
    let plain = TestServer::start(move |_, answer| answer.whole("200 OK", &[], &content));
    let target = plain.url("/syslinux.zip?token=SECRET").replace("http://", "http://me:SECRET@");
    let server = Https::start("127.0.0.1", move |path| match path {
        "/first.zip" => answer("302 Found", "Location: /second.zip\r\n", b""),
        _ => answer("302 Found", &format!("Location: {target}\r\n"), b""),
    });
    for path in ["/first.zip", "/second.zip"] {
        let url = server.url(path);
        assert_eq!(
            fetch(&project, &url, Some(&server)).error(5),
            format!(
                "cannot download `{url}`: `{}` redirects to `{}?...`, wanted an address with https\n\
                 hint: do not trust what comes from there: name an address that stays with https\nhint: or give the release archive with `--syslinux-archive`\n",
                server.url("/second.zip"),
                plain.url("/syslinux.zip")
            )
        );
    }
    // A server that sends the data itself is allowed, and so is a redirect from HTTP to HTTPS.
    let whole = Https::start("127.0.0.1", archive(&project));
    let place = format!("Location: {}", whole.url("/syslinux.zip"));
    let first = TestServer::start(move |_, answer| answer.whole("302 Found", &[&place], b""));
    fetch(&project, &first.url("/syslinux.zip"), Some(&whole)).success();
    assert!(plain.requests().is_empty());
}
