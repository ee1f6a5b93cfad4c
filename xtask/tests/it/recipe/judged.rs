//! Servers and systemd validate the files written for them. Programs that are not installed are skipped with a
//! message.

use std::fmt::Write as _;
use std::process::Command;

use netboot_fixtures::harness::xtask;

use camino::Utf8PathBuf;

use netboot_fixtures::mirror::MirrorProject;
use netboot_fixtures::project::{CliOutput, Project};
use netboot_fixtures::recipe::{NETWORK, project};
use netboot_fixtures::skip::{networks, program};

netboot_fixtures::tests! {
    dnsmasq,
    dnsmasq_beside_another_server,
    kea,
    kea_with_the_longest_address,
    isc_dhcpd,
    kea_over_http,
    isc_dhcpd_over_http,
    kea_for_each_firmware,
    isc_dhcpd_for_each_firmware,
    kea_for_known_machines,
    isc_dhcpd_for_known_machines,
    caddy,
    caddy_on_the_port_of_the_other_protocol,
    nginx,
    nginx_synology,
    systemd_units_of_a_mirror,
    ; slow:
    dnsmasq_over_http,
    dnsmasq_for_each_firmware,
    dnsmasq_for_known_machines,
}

/// Runs `server` with `arguments` in the folder with the recipe `kind`, and checks that it accepts the recipe.
fn judged(project: &Project, kind: &str, server: &str, arguments: &[&str]) -> Result<(), String> {
    let server = program(server)?;
    let folder = project.path("out").join(kind);
    project.run(["recipe", kind, "--out", folder.as_str()]).warned();
    let output = Command::new(&server).args(arguments).current_dir(&folder).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{kind}: {said}");
    Ok(())
}

fn dnsmasq() -> Result<(), String> {
    judged_dnsmasq("dnsmasq")
}

fn dnsmasq_beside_another_server() -> Result<(), String> {
    judged_dnsmasq("dnsmasq-proxy")
}

fn judged_dnsmasq(kind: &str) -> Result<(), String> {
    let project = project();
    let file = format!("netboot-{kind}.conf");
    if kind == "dnsmasq-proxy" {
        // Before 2.91, dnsmasq does not have the option that the recipe uses to send option 17.
        let boot = NETWORK.replace("boot = \"fedora-coreos.ipxe\"\n", "");
        let boot = boot.replace("boot = \"http://192.168.88.11:8080/boot/${net0/mac:hexhyp}.ipxe?a=b\"\n", "");
        project.write("embed-scripts/network.toml", &boot);
    }
    judged(&project, kind, "dnsmasq", &["--test", &format!("--conf-file={file}")])
}

fn kea() -> Result<(), String> {
    judged_kea(&project())
}

fn isc_dhcpd() -> Result<(), String> {
    judged(&project(), "isc-dhcpd", "dhcpd", &["-t", "-cf", "dhcpd.conf"])
}

fn judged_kea(project: &Project) -> Result<(), String> {
    judged(project, "kea", "kea-dhcp4", &["-t", "kea-dhcp4.conf"])
}

/// Commands that start each server in the foreground, on `veth0`.
const DNSMASQ: &str = "sed -i \"s|^tftp-root=.*|tftp-root=$PWD|\" netboot-dnsmasq.conf; \
                       exec dnsmasq --no-daemon --user=root --conf-file=netboot-dnsmasq.conf --port=0 --no-ping --dhcp-leasefile=leases";
const KEA: &str = "sed -i 's/\"type\": \"memfile\"/&, \"persist\": false/' kea-dhcp4.conf; \
                   export KEA_PIDFILE_DIR=$PWD KEA_LOCKFILE_DIR=none; exec kea-dhcp4 -c kea-dhcp4.conf";
const DHCPD: &str = ": > leases; exec dhcpd -d -f -cf dhcpd.conf -lf leases -pf pid veth0";

/// Two networks connected by a cable: the server is in one, and in the other clients.
const CABLE: &str = "\
set -e
ip link add veth0 type veth peer name veth1
ip address add 192.0.2.1/24 dev veth0
ip link set veth0 up
unshare -n sleep 30 & there=$!
trap 'kill $there $server' EXIT
sleep 0.5
ip link set veth1 netns $there
nsenter -t $there -n ip link set veth1 up
( SERVER ) > server.log 2>&1 & server=$!
printf '#!/bin/sh\\nif [ $1 = bound ]; then env > told; fi\\n' > tell
chmod +x tell
";

/// Client that acts like UEFI HTTP boot firmware and does not ask for option 60 (`-o`). The reply is written to the file
/// `told`.
const HTTP_CLIENT: &str = "\
nsenter -t $there -n busybox udhcpc -i veth1 -f -n -q -t 20 -T 1 -o -O subnet \\
    -V HTTPClient:Arch:00016:UNDI:003001 -x 0x5d:0010 -s ./tell
";

/// Writes the recipe `kind` of `project`, starts its server with the command `start`, and runs `clients` on the other
/// end of a cable. Returns the folder, and what was printed.
fn served(project: &Project, kind: &str, start: &str, clients: &str) -> (Utf8PathBuf, String) {
    let folder = project.path("out");
    project.run(["recipe", kind, "--out", folder.as_str()]).warned();
    let script = format!("{CABLE}{clients}").replace("SERVER", start);
    let path = format!("{}:/usr/local/sbin:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new("unshare");
    command.args(["-rn", "sh", "-c", &script]).current_dir(&folder).env("PATH", path);
    let output = command.output().unwrap();
    (folder, String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Checks that `server` and the programs of [`CABLE`] are there.
fn can_serve(server: &str) -> Result<(), String> {
    for name in [server, "busybox", "ip", "nsenter"] {
        program(name)?;
    }
    networks()
}

/// The tree of each server has a loader for each platform but two. Firmware gets that of its CPU by its value of option
/// 93, and none where there is none; 41 is of no platform.
fn for_each_firmware(kind: &str, server: &str, start: &str) -> Result<(), String> {
    can_serve(server)?;
    let project = project();
    project.sites(
        "[default]\nloaders = [\"ipxe.pxe\", \"snponly.efi\", \"i386/ipxe.efi\", \"arm64/snponly.efi\", \
         \"riscv64/ipxe.efi\"]\nscript = \"boot.ipxe\"\n",
    );
    project.write("embed-scripts/network.toml", ON_A_CABLE);
    let codes = [0, 6, 7, 9, 10, 11, 15, 16, 18, 19, 27, 28, 39, 40, 41];
    let client = |code: u16| {
        let class = if [15, 16, 18, 19, 28, 40].contains(&code) { "HTTPClient" } else { "PXEClient" };
        format!(
            "rm -f told\nnsenter -t $there -n busybox udhcpc -i veth1 -f -n -q -t 20 -T 1 -O bootfile \\\n    \
             -V {class}:Arch:{code:05}:UNDI:003001 -x 0x5d:{code:04x} -s ./tell\n\
             echo \"{code} $(sed -n 's/^boot_*file=//p' told | head -n 1)\" >> answers\n"
        )
    };
    let (folder, said) = served(&project, kind, start, &codes.map(client).concat());
    let log = std::fs::read_to_string(folder.join("server.log")).unwrap_or_default();
    let answers = std::fs::read_to_string(folder.join("answers")).unwrap_or_default();
    println!("{kind}:\n{answers}");
    let http = "http://192.0.2.1/tftp";
    let wanted = format!(
        "0 ipxe.pxe\n6 i386/ipxe.efi\n7 snponly.efi\n9 snponly.efi\n10 \n11 arm64/snponly.efi\n15 {http}/i386/ipxe.efi\n\
         16 {http}/snponly.efi\n18 \n19 {http}/arm64/snponly.efi\n27 riscv64/ipxe.efi\n28 {http}/riscv64/ipxe.efi\n\
         39 \n40 \n41 \n"
    );
    assert_eq!(answers, wanted, "{said}\n{log}");
    if kind == "isc-dhcpd" {
        assert!(log.contains("10: ARM32 UEFI: the tree has no loader") && !log.contains("11: "), "{log}");
    }
    Ok(())
}

fn dnsmasq_for_each_firmware() -> Result<(), String> {
    for_each_firmware("dnsmasq", "dnsmasq", DNSMASQ)
}

fn kea_for_each_firmware() -> Result<(), String> {
    for_each_firmware("kea", "kea-dhcp4", KEA)
}

fn isc_dhcpd_for_each_firmware() -> Result<(), String> {
    for_each_firmware("isc-dhcpd", "dhcpd", DHCPD)
}

/// Hosts of a network on [`CABLE`], each different from unknown machines in another way.
const HOSTS: &str = r#"
[[host]]
name = "fixed"
mac = "02:00:00:00:00:01"
ip = "192.0.2.21"
firmware = "uefi"
site = "fixed"

[[host]]
name = "other"
mac = "02:00:00:00:00:02"
ip = "192.0.2.22"
firmware = "bios"
site = "other"
boot = "other.ipxe"

[[host]]
name = "own"
mac = "02:00:00:00:00:03"
ip = "192.0.2.23"
firmware = "uefi"
boot = "own.ipxe"

[[host]]
name = "rom"
mac = "02:00:00:00:00:04"
ip = "192.0.2.24"
firmware = "bios"
site = "rom"
"#;

/// Known machines get what is theirs only with the firmware that is described; with other firmware, they and their
/// loaders get what unknown machines get. No loader gets itself again.
fn for_known_machines(kind: &str, server: &str, start: &str) -> Result<(), String> {
    can_serve(server)?;
    let project = project();
    project.write("embed-scripts/other.ipxe", "#!ipxe\nset user-class other\ndhcp && chain ${root-path}\n");
    project.sites(
        "[default]\nloaders = [\"ipxe.pxe\", \"ipxe.efi\"]\nscript = \"class.ipxe\"\n[site.fixed]\nscript = \
         \"fixed.ipxe\"\n[site.other]\nscript = \"other.ipxe\"\n[site.rom]\nscript = \"boot.ipxe\"\n",
    );
    let ours = "netboot-loaders";
    // The last byte of the card's address, option 93, the user class; then the file, and the script of option 17.
    let with_common = [
        (1, 7, "", "sites/fixed/ipxe.efi", ""),
        (1, 0, "", "ipxe.pxe", ""),
        (1, 0, ours, "", "machines"),
        (2, 0, "", "sites/other/ipxe.pxe", ""),
        (2, 0, "iPXE", "sites/other/ipxe.pxe", ""),
        (2, 0, "other", "", "other"),
        (2, 7, "", "ipxe.efi", ""),
        (2, 7, ours, "", "machines"),
        (3, 7, "", "ipxe.efi", ""),
        (3, 7, ours, "", "own"),
        (3, 0, "", "ipxe.pxe", ""),
        (3, 0, ours, "", "machines"),
        (4, 0, "", "sites/rom/ipxe.pxe", ""),
        (4, 0, "iPXE", "http://192.0.2.1/tftp/machines.ipxe", "machines"),
        (4, 7, "iPXE", "ipxe.efi", ""),
        (4, 7, ours, "", "machines"),
        (5, 0, "", "ipxe.pxe", ""),
        (5, 0, "iPXE", "ipxe.pxe", ""),
        (5, 0, ours, "", "machines"),
    ];
    // Without `boot` for all machines.
    let without = [
        (2, 0, "", "sites/other/ipxe.pxe", ""),
        (2, 0, "other", "", "other"),
        (3, 7, "", "ipxe.efi", ""),
        (3, 7, ours, "", "own"),
        (3, 0, "iPXE", "ipxe.pxe", ""),
        (5, 7, "", "ipxe.efi", ""),
    ];
    let network = format!("{ON_A_CABLE}{HOSTS}");
    for (network, asked) in
        [(network.clone(), &with_common[..]), (network.replace("boot = \"machines.ipxe\"\n", ""), &without[..])]
    {
        project.write("embed-scripts/network.toml", &network);
        let (mut clients, mut wanted) = (String::new(), String::new());
        for (mac, code, class, file, script) in asked {
            let (user, class_hex) = (if class.is_empty() { "" } else { "-x 0x4d:" }, hex(class));
            writeln!(
                clients,
                "rm -f told\nnsenter -t $there -n ip link set veth1 address 02:00:00:00:00:0{mac}\n\
                 nsenter -t $there -n busybox udhcpc -i veth1 -f -n -q -t 20 -T 1 -O bootfile -O rootpath \\\n    \
                 -V PXEClient:Arch:{code:05}:UNDI:003001 -x 0x5d:{code:04x} {user}{class_hex} -s ./tell\n\
                 echo \"{mac} {code} {class}: $(sed -n 's/^boot_*file=//p' told | head -n 1) \
                 $(sed -n 's/^rootpath=//p' told)\" >> answers"
            )
            .unwrap();
            let told = if script.is_empty() { String::new() } else { format!("http://192.0.2.1/tftp/{script}.ipxe") };
            writeln!(wanted, "{mac} {code} {class}: {file} {told}").unwrap();
        }
        let _ = std::fs::remove_dir_all(project.path("out"));
        let (folder, said) = served(&project, kind, start, &clients);
        let log = std::fs::read_to_string(folder.join("server.log")).unwrap_or_default();
        let answers = std::fs::read_to_string(folder.join("answers")).unwrap_or_default();
        assert_eq!(answers, wanted, "{kind}: {said}\n{log}");
    }
    Ok(())
}

/// Returns the bytes of `text` as hexadecimal digits.
fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn dnsmasq_for_known_machines() -> Result<(), String> {
    for_known_machines("dnsmasq", "dnsmasq", DNSMASQ)
}

fn kea_for_known_machines() -> Result<(), String> {
    for_known_machines("kea", "kea-dhcp4", KEA)
}

fn isc_dhcpd_for_known_machines() -> Result<(), String> {
    for_known_machines("isc-dhcpd", "dhcpd", DHCPD)
}

/// Network of a server on [`CABLE`].
const ON_A_CABLE: &str = "subnet = \"192.0.2.0/24\"\ntftp-server = \"192.0.2.1\"\nhttp-url = \"http://192.0.2.1/tftp\"\n\
     ranges = [\"192.0.2.100-192.0.2.119\"]\nboot = \"machines.ipxe\"\ninterface = \"veth0\"\n";

/// HTTP boot firmware must get option 60 from `server` whether or not it asks for it.
fn over_http(kind: &str, server: &str, start: &str) -> Result<(), String> {
    can_serve(server)?;
    let project = project();
    project.write("embed-scripts/network.toml", ON_A_CABLE);
    let (folder, said) = served(&project, kind, start, HTTP_CLIENT);
    let log = std::fs::read_to_string(folder.join("server.log")).unwrap_or_default();
    let told = std::fs::read_to_string(folder.join("told")).unwrap_or_default();
    for line in ["boot_file=http://192.0.2.1/tftp/ipxe.efi\n", "vendor=HTTPClient\n"] {
        assert!(told.contains(line), "{line} is not in:\n{told}\n{said}\n{log}");
    }
    Ok(())
}

fn dnsmasq_over_http() -> Result<(), String> {
    over_http("dnsmasq", "dnsmasq", DNSMASQ)
}

fn kea_over_http() -> Result<(), String> {
    over_http("kea", "kea-dhcp4", KEA)
}

fn isc_dhcpd_over_http() -> Result<(), String> {
    over_http("isc-dhcpd", "dhcpd", DHCPD)
}

fn kea_with_the_longest_address() -> Result<(), String> {
    let project = project();
    let longest = format!("{}.ipxe", "x".repeat(96));
    project.write("embed-scripts/network.toml", &NETWORK.replace("fedora-coreos.ipxe", &longest));
    judged_kea(&project)
}

fn caddy() -> Result<(), String> {
    judged(&project(), "caddy", "caddy", &["validate", "--adapter", "caddyfile", "--config", "Caddyfile"])
}

/// Caddy refuses http on the port that it takes for that of https, and the other way round.
fn caddy_on_the_port_of_the_other_protocol() -> Result<(), String> {
    for address in ["http://192.0.2.1:443/boot", "https://nas.example:80/boot"] {
        let project = project();
        let network = NETWORK.replace("http://192.168.88.10/tftp", address);
        assert_ne!(network, NETWORK);
        project.write("embed-scripts/network.toml", &network);
        judged(&project, "caddy", "caddy", &["validate", "--adapter", "caddyfile", "--config", "Caddyfile"])?;
    }
    Ok(())
}

fn nginx() -> Result<(), String> {
    judged_nginx("nginx", "include netboot-nginx.conf;")
}

fn nginx_synology() -> Result<(), String> {
    judged_nginx("nginx-synology", "server { listen 80; include www.netboot.conf; }")
}

fn judged_nginx(kind: &str, include: &str) -> Result<(), String> {
    let project = project();
    let around =
        format!("pid nginx.pid;\nerror_log stderr;\nevents {{}}\nhttp {{\n  access_log off;\n  {include}\n}}\n");
    project.write(&format!("out/{kind}/all.conf"), &around);
    judged(&project, kind, "nginx", &["-t", "-p", ".", "-c", "all.conf"])
}

fn systemd_units_of_a_mirror() -> Result<(), String> {
    program("systemd-analyze")?;
    let mirror = MirrorProject::new();
    let keys = mirror.root.join("100% keys");
    let (text, _) = mirror.scheduled("systemd", &["--verify-signatures", "--keys", keys.as_str(), "--check"]);
    let (head, timer) =
        text.split_once("\n\n# /etc/systemd/system/mirror-fedora-coreos-stable-x86_64.timer\n").unwrap();
    let service = head.strip_prefix("# /etc/systemd/system/mirror-fedora-coreos-stable-x86_64.service\n").unwrap();
    let start = service.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    assert_eq!(
        start,
        format!(
            "{} --quiet --project {} mirror fedora-coreos --stream stable --arch x86_64 --dest {} --keep 4 --links auto --keys \
             \"{}\" --base-url {} --check --verify-signatures",
            xtask(),
            mirror.root,
            mirror.dest(),
            mirror.root.join("100%% keys"),
            mirror.publisher.server.url("")
        )
    );
    let units = [("mirror.service", service), ("mirror.timer", timer)];
    for (name, text) in units {
        std::fs::write(mirror.root.join(name), text).unwrap();
    }
    let paths = units.map(|(name, _)| mirror.root.join(name));
    let ran = CliOutput::from(Command::new("systemd-analyze").arg("verify").args(paths).output().unwrap());
    assert!(!ran.stderr.contains("mirror."), "{}", ran.stderr);
    Ok(())
}
