//! Real servers serve a tree, configured only by their recipes: nginx, Caddy and tftpd-hpa. A server that is not
//! installed is skipped with a message.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use netboot_fixtures::served::http::{Answer, HttpServer};
use netboot_fixtures::served::tftp::{self, Tftp};
use netboot_fixtures::served::{RunningServer, Served};
use netboot_fixtures::skip::program;
use netboot_loaders::digest::Sha256Digest;

netboot_fixtures::tests! {
    nginx,
    nginx_synology,
    caddy,
    ; slow:
    tftpd_hpa,
}

fn nginx() -> Result<(), String> {
    web("nginx", "netboot-nginx.conf", start_nginx)
}

fn nginx_synology() -> Result<(), String> {
    web("nginx-synology", "www.netboot.conf", start_nginx)
}

fn caddy() -> Result<(), String> {
    web("caddy", "Caddyfile", start_caddy)
}

/// Command that starts a server with the recipe `recipe` in the folder `out`.
type Start = fn(&Served, recipe: &str, &HttpServer) -> Result<Command, String>;

/// The server of the recipe `kind` serves the tree below a path, and at the root of the server.
fn web(kind: &str, recipe: &str, start: Start) -> Result<(), String> {
    let served = Served::new();
    for path in ["/tftp", ""] {
        let (_server, web) = listening(&served, path, kind, recipe, start)?;
        all_files_are_there(&served, &web);
        firmware_gets_its_loader(&served, &web);
        loaders_get_what_they_ask_for(&served, &web);
        people_can_look_around(&web);
        nothing_else_is_there(&served, &web);
    }
    Ok(())
}

/// Starts a server and waits until it replies. Its port was free a moment ago; nothing stronger can be guaranteed.
fn listening(
    served: &Served,
    path: &str,
    kind: &str,
    recipe: &str,
    start: Start,
) -> Result<(RunningServer, HttpServer), String> {
    for _ in 0..5 {
        let web = HttpServer::somewhere(path);
        served.recipe(kind, &web.url(""));
        let mut server = RunningServer::start(start(served, recipe, &web)?.stdin(Stdio::null()), &served.folder("out"));
        if server.answers(|| web.listens()) {
            return Ok((server, web));
        }
        eprintln!("{kind} does not answer: {}", server.log());
    }
    panic!("{kind} does not start");
}

fn start_nginx(served: &Served, recipe: &str, web: &HttpServer) -> Result<Command, String> {
    let out = served.folder("out");
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = temporary.map(|name| format!("{name}_temp_path {out}/{name};\n")).concat();
    let include = if recipe.starts_with("www.") {
        // The NAS has its own server, which includes the recipe.
        format!("server {{ listen {}; include {out}/{recipe}; }}", web.authority())
    } else {
        format!("include {out}/{recipe};")
    };
    let all = format!(
        "daemon off;\nmaster_process off;\npid {out}/pid;\nerror_log stderr;\nevents {{}}\n\
         http {{\naccess_log off;\n{temporary}{include}\n}}\n"
    );
    std::fs::write(out.join("all.conf"), all).unwrap();
    let mut command = Command::new(program("nginx")?);
    command.args(["-p", out.as_str(), "-c", "all.conf"]);
    Ok(command)
}

fn start_caddy(served: &Served, recipe: &str, _: &HttpServer) -> Result<Command, String> {
    let out = served.folder("out");
    let mut command = Command::new(program("caddy")?);
    command.args(["run", "--adapter", "caddyfile", "--config", out.join(recipe).as_str()]);
    for variable in ["HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
        command.env(variable, &out);
    }
    command.env("CADDY_ADMIN", format!("unix/{out}/admin.sock"));
    Ok(command)
}

fn all_files_are_there(served: &Served, web: &HttpServer) {
    let sums = String::from_utf8(web.get("/SHA256SUMS").ok().body).unwrap();
    let mut seen = 0;
    for line in sums.lines() {
        let (sha256, path) = line.split_once("  ").unwrap();
        assert_eq!(Sha256Digest::of(&web.get(&format!("/{path}")).ok().body).to_string(), sha256, "{path}");
        seen += 1;
    }
    // All files except SHA256SUMS itself.
    assert_eq!(seen, served.tree.len() - 1);
}

/// UEFI firmware that boots over HTTP asks for the size with HEAD, which must be in `Content-Length`, follows no redirect,
/// and takes the file for a program because of its name, or of the type `application/efi`. Some firmware doubles slashes.
fn firmware_gets_its_loader(served: &Served, web: &HttpServer) {
    for path in ["/ipxe.efi", "//ipxe.efi", "/sites/rack-1/ipxe.efi"] {
        let (_, loader) = served.tree.iter().find(|(file, _)| file == path.trim_start_matches('/')).unwrap();
        let size = loader.len().to_string();
        for method in ["HEAD", "GET"] {
            let answer = web.raw(method, &format!("{}{path}", web.path), &[]);
            assert_eq!((answer.status, answer.header("content-length")), (200, Some(size.as_str())), "{method} {path}");
            assert_eq!(answer.header("transfer-encoding"), None, "{method} {path}");
            assert!(!answer.is("text/html"), "{method} {path}: {answer:?}");
        }
    }
}

fn loaders_get_what_they_ask_for(served: &Served, web: &HttpServer) {
    let kernel = &served.kernel;
    // Firmware asks for the size of a loader before it loads it.
    let head = web.ask("HEAD", Served::KERNEL, &[]).ok();
    assert_eq!(head.header("content-length"), Some(kernel.len().to_string().as_str()));
    assert!(head.body.is_empty());
    for (range, from, to) in
        [("1000-1999", 1_000, 2_000), ("700000-", 700_000, kernel.len()), ("-5", kernel.len() - 5, kernel.len())]
    {
        let part = web.ask("GET", Served::KERNEL, &[("Range", &format!("bytes={range}"))]);
        assert_eq!(part.status, 206, "{range}: {part:?}");
        let said = format!("bytes {from}-{}/{}", to - 1, kernel.len());
        assert_eq!(part.header("content-range"), Some(said.as_str()));
        assert!(part.body == kernel[from..to], "{range}");
    }
    // A partial download resumes only if the file is unchanged.
    let tag = web.get(Served::KERNEL).ok().header("etag").unwrap().to_owned();
    for (tag, status) in [(tag.as_str(), 206), ("\"another\"", 200)] {
        let part = web.ask("GET", Served::KERNEL, &[("Range", "bytes=5-"), ("If-Range", tag)]);
        assert_eq!(part.status, status, "{tag}");
    }
    for path in ["/gone.ipxe", "/sites/gone/ipxe.efi"] {
        assert_eq!(web.get(path).status, 404, "{path}");
    }
}

fn people_can_look_around(web: &HttpServer) {
    let script = web.get("/rescue.ipxe").ok();
    assert!(script.is("text/plain") && script.body.starts_with(b"#!ipxe\n"), "{script:?}");
    assert!(web.get("/manifest.json").ok().is("application/json"));
    for loader in ["/ipxe.pxe", "/lpxelinux.0", "/sites/rack-1/ipxe.efi", Served::KERNEL] {
        let answer = web.get(loader).ok();
        assert!(!answer.is("text/plain") && !answer.is("text/html"), "{loader}: {answer:?}");
    }
    for (folder, name) in [("/", "ipxe.efi"), ("/sites/", "rack-1/"), ("/sites/rack-1/", "ipxe.efi")] {
        let list = web.get(folder).ok();
        assert!(list.is("text/html"), "{list:?}");
        assert!(String::from_utf8_lossy(&list.body).contains(&format!("{name}\"")), "{list:?}");
    }
    // The address in network.toml leads to the list, and so does the address of each folder.
    for folder in ["", "/sites"] {
        let answer = web.get(folder);
        let list = if folder.is_empty() && web.path.is_empty() { answer } else { web.follow(&answer) };
        assert!(list.ok().is("text/html"), "{folder}");
    }
}

fn nothing_else_is_there(served: &Served, web: &HttpServer) {
    let base = &web.path;
    let outside = [
        format!("{base}/gone.ipxe"),
        "/gone.ipxe".to_owned(),
        format!("{base}x"),
        format!("{base}/../secret"),
        format!("{base}/sites/../../secret"),
        format!("{base}/%2e%2e/secret"),
        format!("{base}/..%2fsecret"),
        format!("{base}/%2e%2e%2fsecret"),
        format!("{base}//../secret"),
        format!("{base}../secret"),
        format!("{base}%2e%2e/secret"),
        format!("{base}/..\\secret"),
    ];
    for path in outside {
        let answer = web.raw("GET", &path, &[]);
        assert!((400..500).contains(&answer.status), "{path}: {answer:?}");
        assert!(!answer.body.windows(6).any(|part| part == b"SECRET"), "{path}");
    }
    // Older versions of Caddy reply to these with the file. They must only have no effect.
    for (method, path) in [("PUT", "/rescue.ipxe"), ("PUT", "/new"), ("DELETE", "/rescue.ipxe"), ("POST", "/ipxe.efi")]
    {
        web.ask(method, path, &[("Content-Length", "0")]);
    }
    assert!(served.is_untouched());
}

fn tftpd_hpa() -> Result<(), String> {
    let server = program("in.tftpd")?;
    let root = netboot_fixtures::served::as_root()?;
    let served = Served::new();
    let recipe = served.recipe("tftpd-hpa", "http://127.0.0.1/tftp").join("tftpd-hpa");
    assert!(std::fs::read_to_string(&recipe).unwrap().contains("TFTP_ADDRESS=\"127.0.0.1:69\"\n"));
    // Started as by the package's own script, except for the port, and for the user if another package created none.
    // The shell ends the server when its own input ends, which also works through sudo.
    let script = format!(
        ". {recipe}; id \"$TFTP_USERNAME\" >&2 || TFTP_USERNAME=nobody\n\
         {server} --foreground --user $TFTP_USERNAME --address ${{TFTP_ADDRESS%:69}}:$1 $TFTP_OPTIONS $TFTP_DIRECTORY &\n\
         cat; kill $!; wait"
    );
    let tftp = Tftp::somewhere();
    let mut command = Command::new(root.first().copied().unwrap_or("sh"));
    command.args(root.iter().skip(1)).args(root.first().map(|_| "sh")).args(["-c", &script, "sh", &tftp.port()]);
    let mut running = RunningServer::start(command.stdin(Stdio::piped()), &served.folder("out"));
    assert!(running.answers(|| tftp.read("rescue.ipxe", &[]).is_ok()), "{}", running.log());
    for (path, content) in &served.tree {
        for name in [path.to_string(), format!("/{path}")] {
            assert!(tftp.read(&name, &[]).unwrap().content == *content, "{name}");
        }
    }
    let kernel = Served::KERNEL;
    // Boot ROMs ask for the size, and for blocks that fill a frame; the recipe allows no larger ones.
    for (asked, given) in [("1024", "1024"), ("1468", "1468"), ("65464", "1468")] {
        let got = tftp.read(kernel, &[("tsize", "0"), ("blksize", asked)]).unwrap();
        let size = served.kernel.len().to_string();
        assert_eq!(got.options, [("tsize".to_owned(), size), ("blksize".to_owned(), given.to_owned())]);
        assert!(got.content == served.kernel, "{asked}");
    }
    for name in
        ["gone", "../secret", "sites/../../secret", "..\\secret", "/../secret", served.folder("srv/secret").as_str()]
    {
        assert_eq!(tftp.read(name, &[]).unwrap_err(), tftp::NOT_FOUND, "{name}");
    }
    // Even if the folder is writable for all users.
    std::fs::set_permissions(served.folder("srv/tftp"), Permissions::from_mode(0o777)).unwrap();
    for name in ["rescue.ipxe", "/ipxe.efi", "new", "sites/new"] {
        assert!(tftp.refuses(name), "{name}");
    }
    assert!(served.is_untouched());
    Ok(())
}

/// A reply that must be successful.
trait Fine {
    fn ok(self) -> Self;
}

impl Fine for Answer {
    #[track_caller]
    fn ok(self) -> Self {
        assert_eq!(self.status, 200, "{self:?}");
        self
    }
}
