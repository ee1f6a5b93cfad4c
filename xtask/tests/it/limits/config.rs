//! Hostile configuration: `sites.toml`, `network.toml`, inventories, scripts and certificates.

use std::fs::File;
use std::io::{BufWriter, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use netboot_fixtures::limits;
use netboot_fixtures::project::Project;

netboot_fixtures::tests! {
    long_names_in_choices_are_cut,
    lists_of_a_network_are_read_within_limits,
    many_machines_can_be_interrupted,
    ; slow:
    findings_and_warnings_of_many_sites_end,
    toml_that_is_nothing_but_errors_is_refused_within_limits,
    certificates_are_read_within_limits,
}

/// Returns the message of `build-loaders --plan` about a hostile configuration, which must not repeat the input at
/// length.
#[track_caller]
fn refused_choices(project: &Project, more: &[&str]) -> String {
    let arguments = [&["build-loaders", "--plan"], more].concat();
    let error = project.run_within_limits(&arguments).error(3);
    assert!(error.len() < 150_000, "{} bytes", error.len());
    error
}

fn long_names_in_choices_are_cut() {
    let project = Project::new();
    let sites = "[default]\nloaders = [\"ipxe.efi\"]\nscript = \"boot.ipxe\"\n";
    let name = "a".repeat(1_000_000);
    let keys = |value: &str| (0..1_000).map(|i| format!("x{i}={value}\n")).collect::<String>();
    project.sites(&format!("{sites}[site.\"{name}\"]\n{}", keys("1")));
    let error = refused_choices(&project, &[]);
    assert!(error.contains(": found the site name `aaa") && error.contains("… (1000000 bytes)`, wanted 1 to 63 "));
    assert!(error.contains("aaa…`: is not a key that is known here\n"), "{error}");
    project.sites(&format!("{sites}[site.\"{name}\".vars]\n{}", keys("'1'")));
    refused_choices(&project, &[]);
    project.sites(&format!("{sites}[boot.\"{name}\"]\nkind = \"{name}\"\n"));
    let error = refused_choices(&project, &[]);
    assert!(error.contains(": found the boot entry name `aaa"), "{error}");
    assert!(error.contains("`, wanted fedora-coreos, flatcar, linux or matchbox\n"), "{error}");
    project.sites(sites);
    let racks = project.path("racks.csv");
    let write = |text: &str| std::fs::write(&racks, text).unwrap();
    write(&format!("name\n{}\n", "a".repeat(7_900_000)));
    refused_choices(&project, &["--sites", racks.as_str()]);
    write(&format!("name,a\nb,{}\n", "x".repeat(65_537)));
    let error = refused_choices(&project, &["--sites", racks.as_str()]);
    assert!(error.contains("racks.csv:2: `a`: found a value of 65537 bytes, wanted 65536 at most\n"), "{error}");
}

fn findings_and_warnings_of_many_sites_end() {
    let project = Project::new();
    let racks = project.path("racks.csv");
    let sites = "[default]\nloaders = [\"ipxe.efi\"]\nscript = \"boot.ipxe\"\nvars = { a = \"x\" }\n";
    project.sites(sites);
    let rows = |count: usize, value: &str| {
        let mut file = BufWriter::new(File::create(&racks).unwrap());
        file.write_all(b"name,a\n").unwrap();
        (0..count).for_each(|i| writeln!(file, "s{i},{}", value.replace('@', &i.to_string())).unwrap());
        file.into_inner().unwrap();
    };
    let more = ["--sites", racks.as_str()];
    project.write("embed-scripts/boot.ipxe", "#!ipxe\nset x {{ a }}\n{% if a != 'x' %}{{ a }}{% endif %}\n");
    rows(2_000, &format!("{}@", "y".repeat(3_000)));
    assert!(refused_choices(&project, &more).ends_with("\nand many more findings\n"));
    project.write("embed-scripts/boot.ipxe", "#!ipxe\nset x {{ a }}\n");
    rows(2_000, &format!("{}@||shell", "y".repeat(3_000)));
    let ran = project.run_within_limits(&["build-loaders", "--plan", "--sites", racks.as_str()]).warned();
    assert!(
        ran.stderr.ends_with("warning: there are many more warnings\n"),
        "{}",
        &ran.stderr[ran.stderr.len() - 500..]
    );
    assert!(ran.stderr.len() < 200_000, "{} bytes", ran.stderr.len());
    // No slot has space for such scripts.
    for line in ["x\n", "ping\n", "goto x\n:x\n"] {
        project.write("embed-scripts/boot.ipxe", &format!("#!ipxe\n{}", line.repeat((2 << 20) / line.len() - 10)));
        let error = refused_choices(&project, &[]);
        assert!(error.contains(" more than the largest slot of "), "{error}");
    }
    let large = format!("#!ipxe\n{}", "#\n".repeat(1 << 19));
    for i in 0..5 {
        project.write(&format!("embed-scripts/{i}.ipxe"), &large);
    }
    project.write("embed-scripts/boot.ipxe", "#!ipxe\n");
    let tables: String = (0..5).map(|i| format!("[site.s{i}]\nscript = \"{i}.ipxe\"\n")).collect();
    project.sites(&format!("{sites}{tables}"));
    let error = refused_choices(&project, &[]);
    assert!(error.contains("`site.s2.script`: makes more than 2000 scripts, or 3145728 bytes of all "), "{error}");
}

fn toml_that_is_nothing_but_errors_is_refused_within_limits() {
    let project = Project::new();
    let sites = "[default]\nloaders = [\"ipxe.efi\"]\nscript = \"boot.ipxe\"\n";
    for unit in ["!\n", "\"\n", "a.a\n", "\\q", "1 ", "\n'"] {
        for (head, size) in [("", 1 << 21), ("x = \"", 1 << 21), ("", 1 << 18), ("x = \"", 1 << 18)] {
            project.sites(&format!("{sites}{head}{}", unit.repeat((size - 200) / unit.len())));
            let error = refused_choices(&project, &[]);
            assert!(error.starts_with("embed-scripts/sites.toml:"), "{error}");
        }
    }
    // Each dot creates a table.
    let dots = (0..14_000).map(|i| format!("a{i}{}=1\n", ".a".repeat(70))).collect::<String>();
    project.sites(&format!("{sites}{dots}"));
    assert!(refused_choices(&project, &[]).contains("has more than 400000 keys and values\n"));
    project.sites(&format!("{sites}vars = {{ a = \"{}\" }}\n", "a=1,".repeat(200_000)));
    assert!(refused_choices(&project, &[]).contains("found a value of 800000 bytes, wanted 65536 at most\n"));
    project.sites(sites);
    // Every command reads one key of this file.
    project.write("embed-scripts/network.toml", &"!\n".repeat(1 << 20));
    project.run_within_limits(&["build-loaders", "--plan"]).success();
}

/// Encodes a DER element.
fn der(tag: u8, parts: &[Vec<u8>]) -> Vec<u8> {
    let content = parts.concat();
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&[tag, 0x84][..], &length, &content].concat()
}

fn certificates_are_read_within_limits() {
    let project = Project::new();
    let sites = "[default]\nloaders = [\"ipxe.efi\"]\nscript = \"boot.ipxe\"\n";
    let certificate = |bytes: usize| {
        let key = der(0x30, &[der(0x30, &[]), der(0x03, &[])]);
        let fields = [vec![0x02, 1, 1], der(0x30, &[]), der(0x30, &[]), der(0x30, &[]), der(0x30, &[]), key];
        let parts = [der(0x30, &fields), der(0x30, &[]), der(0x03, &[vec![7; bytes / 4 * 3]])];
        let body = STANDARD.encode(der(0x30, &parts));
        format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
    };
    project.write("embed-scripts/large.pem", &certificate(64 << 10));
    project.sites(&format!("{sites}trust = [\"large.pem\"]\n"));
    assert!(refused_choices(&project, &[]).contains("wanted 65536 at most\n"));
    for i in 0..130 {
        project.write(&format!("embed-scripts/{i}.pem"), &certificate(63 << 10));
    }
    let trust = |count: usize| (0..count).map(|i| format!("\"{i}.pem\",")).collect::<String>();
    let tables: String = (120..130).map(|i| format!("[site.s{i}]\ntrust = [{}]\n", trust(i))).collect();
    project.sites(&format!("{sites}{tables}"));
    let error = refused_choices(&project, &[]);
    assert!(error.contains("makes more than 8388608 bytes of the certificates of all configurations together\n"));
    project.sites(&format!("{sites}trust = [{}]\n", trust(257)));
    assert!(refused_choices(&project, &[]).contains("`default.trust`: has 257 certificates, wanted 256 at most\n"));
}

/// The beginning of a `network.toml`.
const NETWORK: &str = "subnet = \"10.0.0.0/8\"\ntftp-server = \"10.255.0.1\"\nhttp-url = \"http://10.255.0.1/tftp\"\n";

fn lists_of_a_network_are_read_within_limits() {
    let project = Project::new();
    let network = project.path("network.toml");
    let recipe = |text: &str| {
        project.write("network.toml", &format!("{NETWORK}{text}"));
        project.run_within_limits(&["recipe", "kea", "--network", network.as_str()])
    };
    let list = |key: &str, count: usize, item: &dyn Fn(usize) -> String| {
        format!("{key} = [{}]\n", (0..count).map(|i| format!("\"{}\",", item(i))).collect::<String>())
    };
    let range = |i: usize| {
        let address = |number: usize| std::net::Ipv4Addr::from_bits(0x0a00_0000 + u32::try_from(number).unwrap());
        format!("{}-{}", address(4 * i + 2), address(4 * i + 3))
    };
    let text = list("ranges", 10_000, &range);
    recipe(&text).warned();
    assert!(
        recipe(&text.replace("10.0.0.6-", "10.0.0.3-"))
            .error(3)
            .contains("10.0.0.3-10.0.0.7 has addresses of 10.0.0.2-10.0.0.3\n")
    );
    let error = recipe(&list("ranges", 10_001, &range)).error(3);
    assert!(error.contains("`ranges`: has 10001 items, wanted 10000 at most\n"), "{error}");
    let key = |i: usize| format!("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAABA{i:04}A=");
    let text = format!("[ignition]\n{}", list("ssh-keys", 10_000, &key));
    project.write("network.toml", &format!("{NETWORK}{text}"));
    project.run_within_limits(&["ignition", "--network", network.as_str()]).success();
}

fn many_machines_can_be_interrupted() {
    let project = Project::new();
    let host = |i: usize| format!("[[host]]\nname = \"h{i}\"\nmac = \"525400{i:06x}\"\nfirmware = \"uefi\"\n");
    project.sites("[default]\nloaders = [\"ipxe.efi\"]\nscript = \"boot.ipxe\"\n");
    let hosts: String = (0..20_000).map(host).collect();
    project.write("embed-scripts/network.toml", &format!("{NETWORK}{hosts}"));
    for arguments in [&["recipe", "kea"][..], &["ignition", "--host", "x"]] {
        let begun = std::time::Instant::now();
        let soon = std::time::Duration::from_millis(300);
        let measured =
            limits::interrupt(&mut project.command(arguments), |_| begun.elapsed() > soon).assert_memory_limit();
        assert!(measured.stderr.ends_with("error: interrupted\n"), "{}", measured.stderr);
    }
}
