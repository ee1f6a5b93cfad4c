//! Rehearsals: the ways of real scripts in iPXE for Linux, and whether machines take the same.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use netboot_fixtures::harness::full;
use netboot_fixtures::project::CliOutput;
use netboot_fixtures::real::{Real, sources};
use netboot_fixtures::skip;
use serde_json::Value;

netboot_fixtures::tests! {
    with sources;
    each_end,
    a_menu_with_three_levels,
    each_fault,
    platforms,
    recorded_ways,
    large_scripts,
    known_hosts,
    given_answers,
    forms,
    commands_that_fail,
    what_servers_have,
    relative_addresses,
    loaders_that_load_themselves,
    nothing_left,
    watched_scripts,
    forbidden_networks,
    as_in_machines,
}

const SITES: &str = "[default]\nloaders = [\"ipxe.pxe\", \"ipxe.efi\"]\nscript = \"root-path.ipxe\"\n";

/// Runs `rehearse` with the `script`, if it is not empty, in the default network.
fn rehearse(real: &Real, script: &str, arguments: &[&str]) -> CliOutput {
    CliOutput::from(command(real, script, arguments).output().unwrap())
}

fn command(real: &Real, script: &str, arguments: &[&str]) -> Command {
    let file = real.project.join("script.ipxe");
    std::fs::write(&file, format!("#!ipxe\n{script}")).unwrap();
    let mut command = real.command(&["rehearse", "--offline", "--ipxe-url", real.sources.ipxe_git().as_str()]);
    command.args(Real::compiled_once());
    if !script.is_empty() {
        command.args(["--script", file.as_str()]);
    }
    command.args(arguments);
    command
}

/// Returns the lines of the way without times.
fn way(output: &str) -> Vec<String> {
    let lines = output.lines().skip(1).filter(|line| !line.trim().is_empty());
    lines.map(|line| line.get(9..).unwrap_or_default().to_owned()).collect()
}

fn each_end(real: &Real) -> Result<(), String> {
    skip::networks()?;
    real.sites(SITES);
    let ends = [
        ("dhcp && chain ${root-path}", "boots vmlinuz", 0),
        ("exit", "returns to the firmware", 0),
        ("exit 1", "returns to the firmware", 0),
        ("goto nowhere", "fails, and returns to the firmware", 10),
        ("nothing", "fails, and returns to the firmware", 10),
        ("shell", "opens a shell", 10),
        ("reboot", "restarts the machine", 10),
        ("poweroff", "switches the machine off", 10),
        ("sanboot --drive 0x80", "starts a disk: sanboot --drive 0x80", 0),
        ("prompt Press a key", "waits for a key without end: prompt Press a key", 10),
        // What ends by itself does so, however long it takes.
        ("sleep 20000", "returns to the firmware", 0),
        ("menu x\nitem a b\nchoose --timeout 7200000 --default a t && exit", "returns to the firmware", 0),
        (":a\ngoto a", "goes round in circles: goto a", 10),
        (":a\ninc n\necho ${n}\ngoto a", "does not end within 10000 commands", 10),
        ("set a x\n:a\nset a ${a}${a}\ngoto a", "", 10),
    ];
    for (script, end, code) in ends {
        let output = command(real, script, &["--deadline", "20"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let found = way(&said).pop().unwrap_or_default();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{script}\n{said}{error}");
        assert!(end.is_empty() || found == end, "{script}: {found}\n{error}");
    }
    Ok(())
}

fn a_menu_with_three_levels(real: &Real) -> Result<(), String> {
    skip::networks()?;
    real.sites(SITES);
    let menu = |name: &str, items: [&str; 3], default: &str| {
        let items: String = items.map(|item| format!("item {item} The item {item}\n")).concat();
        format!(
            ":{name}\nmenu The menu {name}\n{items}choose --default {default} --timeout 20000 target || goto {name}\ngoto ${{target}}\n"
        )
    };
    let script = format!(
        "dhcp\nprompt --key 0x02 --timeout 5000 Press Ctrl-B ||\n{}{}{}:disk\nsanboot --drive 0x80\n:end\nclear answer\n\
         echo -n Which kernel: ${{}} && read answer\nkernel http://192.0.2.2/${{answer}} console=tty0\nboot\n",
        menu("top", ["systems", "disk", "shell"], "disk"),
        menu("systems", ["top", "linux", "disk"], "top"),
        menu("linux", ["systems", "disk", "end"], "systems"),
    );
    let keys = "wait up enter down enter down down enter type:vmlinuz enter";
    let said = rehearse(real, &script, &["--keys", keys]).success().stdout;
    let chosen: Vec<String> =
        way(&said).into_iter().filter(|line| line.contains("chosen") || line.contains("typed")).collect();
    assert_eq!(
        chosen.iter().map(|line| line.trim()).collect::<Vec<_>>(),
        ["chosen: systems", "chosen: linux", "chosen: end", "typed: vmlinuz",],
        "{said}"
    );
    assert!(said.contains("kernel vmlinuz, ") && said.contains(": console=tty0\n"), "{said}");
    // Without keys, the defaults hold.
    let said = rehearse(real, &script, &[]).success().stdout;
    assert_eq!(way(&said).pop().unwrap(), "starts a disk: sanboot --drive 0x80", "{said}");
    Ok(())
}

fn each_fault(real: &Real) -> Result<(), String> {
    skip::networks()?;
    real.sites(SITES);
    let script = "dhcp || goto no-address\nisset ${root-path} || goto no-root-path\n\
        chain --timeout 10000 ${root-path} || goto dead\n:no-address\necho NO ADDRESS\nexit 1\n\
        :no-root-path\necho NO ROOT PATH\nexit 1\n:dead\necho DEAD SERVER\nexit 1\n";
    let named = "dhcp || exit 1\nchain http://boot.example.org/boot.ipxe || echo NO NAME\n";
    let tftp = "dhcp || exit 1\nimgfetch tftp://${next-server}/ipxe.efi && echo THERE || echo NO FILE\n";
    for (fault, script, said) in [
        ("no-dhcp", script, "echo NO ADDRESS"),
        ("no-root-path", script, "echo NO ROOT PATH"),
        ("web-down", script, "echo DEAD SERVER"),
        ("web-404", script, "GET http://192.0.2.2/boot.ipxe: 404"),
        ("web-slow", &script.replace("10000", "2000"), "echo DEAD SERVER"),
        ("web-reset", script, "GET http://192.0.2.2/boot.ipxe: reset"),
        ("no-dns", named, "echo NO NAME"),
        ("tftp-loss", tftp, "echo NO FILE"),
    ] {
        let output = rehearse(real, script, &["--fault", fault]).success().stdout;
        assert!(output.contains(&format!(", with {fault}\n")), "{output}");
        assert!(way(&output).iter().any(|line| line.trim() == said), "{fault}: {said} is not in:\n{output}");
    }
    let output = rehearse(real, tftp, &[]).success().stdout;
    assert!(output.contains("TFTP ipxe.efi: sent\n") && output.contains("echo THERE\n"), "{output}");
    let output =
        rehearse(real, "dhcp\nchain ${root-path} || echo DEAD\n", &["--answer", "http://192.0.2.2/boot.ipxe=slow"]);
    assert!(output.success().stdout.contains("boots vmlinuz"), "what is slow arrives all the same");
    Ok(())
}

fn platforms(real: &Real) -> Result<(), String> {
    skip::networks()?;
    real.sites(SITES);
    let script = "goto ${platform}-${buildarch}\n:pcbios-i386\nkernel http://192.0.2.2/vmlinuz bios\nboot\n\
        :efi-x86_64\nkernel http://192.0.2.2/vmlinuz uefi\nboot\n";
    let script = format!("dhcp\n{script}");
    for (loader, booted) in [("ipxe.pxe", ": bios\n"), ("ipxe.efi", ": uefi\n")] {
        let said = rehearse(real, &script, &["--loader", loader]).success().stdout;
        assert!(said.contains(booted), "{said}");
    }
    // HTTPS is left out of BIOS loaders by iPXE's default.
    let script = "dhcp\nchain https://192.0.2.2/a\n";
    let said = |loader| rehearse(real, script, &["--loader", loader, "--fault", "web-404"]).warned().stdout;
    assert!(said("ipxe.pxe").contains("failed: Operation not supported"), "{}", said("ipxe.pxe"));
    assert!(!said("ipxe.efi").contains("failed: Operation not supported"), "{}", said("ipxe.efi"));
    Ok(())
}

fn recorded_ways(real: &Real) -> Result<(), String> {
    skip::networks()?;
    real.sites(SITES);
    let record = real.project.join("way.txt");
    let script = "dhcp\necho one\nkernel http://192.0.2.2/vmlinuz a=b\nboot\n";
    rehearse(real, script, &["--record", record.as_str()]).success();
    let text = std::fs::read_to_string(&record).unwrap();
    assert!(
        text.starts_with("# ") && text.ends_with("boot\n  kernel vmlinuz, 38 bytes: a=b\nboots vmlinuz\n"),
        "{text}"
    );
    rehearse(real, script, &["--expect", record.as_str()]).success();
    let error =
        rehearse(real, &script.replace("a=b", "a=c"), &["--expect", record.as_str()]).printed("boots").failure(9);
    assert!(error.contains("\n-  kernel vmlinuz, 38 bytes: a=b\n+  kernel vmlinuz, 38 bytes: a=c\n"), "{error}");
    Ok(())
}

fn large_scripts(real: &Real) -> Result<(), String> {
    skip::networks()?;
    real.sites("[default]\nloaders = [\"ipxe.efi\"]\nscript = \"large.ipxe\"\nslot = 65536\n");
    let comment = format!("# {}\n", "x".repeat(97));
    let mut script = format!("#!ipxe\n{}", comment.repeat(654));
    script.push_str("dhcp\nchain ${root-path}\n");
    std::fs::write(real.project.join("embed-scripts/large.ipxe"), script).unwrap();
    let said = rehearse(real, "", &[]).success().stdout;
    assert!(said.contains("boots vmlinuz"), "{said}");
    Ok(())
}

const NETWORK: &str = r#"
subnet = "192.168.88.0/24"
tftp-server = "192.168.88.1"
http-url = "http://192.168.88.10/tftp"
ranges = ["192.168.88.100-192.168.88.199"]
gateway = "192.168.88.254"
boot = "rescue.ipxe"

[[host]]
name = "node-1"
mac = "00:50:56:00:01:01"
ip = "192.168.88.21"
firmware = "uefi"
hostname = "node-1.example.net"

[[host]]
name = "node-2"
mac = "00:50:56:00:01:02"
firmware = "bios"
site = "rack-1"
boot = "flatcar.ipxe"
"#;

const ENTRIES: &str = r#"
[default]
loaders = ["ipxe.efi", "ipxe.pxe"]
script = "root-path.ipxe"

[site.rack-1]
script = "robust.ipxe"

[site.rack-2]
script = "url.ipxe"
vars = { boot_url = "http://192.168.88.10/tftp/flatcar.ipxe" }

[boot.flatcar]
kind = "flatcar"
mirror = "http://10.1.2.3/flatcar"
ignition = "http://10.1.2.4/config.ign"

[boot.rescue]
kind = "linux"
kernel = "http://boot.example.net:8080/vmlinuz"
initrd = ["http://boot.example.net:8080/initrd.img", "http://boot.example.net/more.img"]
arguments = "quiet"
"#;

/// The recipe's DHCP sends each host to its own script, and servers have what boot entries boot.
fn known_hosts(real: &Real) -> Result<(), String> {
    skip::networks()?;
    real.sites(ENTRIES);
    let network = real.project.join("embed-scripts/network.toml");
    let blank = std::fs::read(&network).unwrap();
    std::fs::write(&network, NETWORK).unwrap();
    let known = |name| rehearse(real, "", &["--host", name]).success().stdout;
    let first = known("node-1");
    for line in [
        "node-1: ipxe.efi in UEFI\n",
        "DHCP: address 192.168.88.21, ",
        "option 12 hostname node-1.example.net",
        "GET http://192.168.88.10/tftp/rescue.ipxe: 200, ",
        "GET http://boot.example.net:8080/initrd.img: 200, ",
        "boots vmlinuz\n",
    ] {
        assert!(first.contains(line), "{line} is not in:\n{first}");
    }
    let second = known("node-2");
    for line in [
        "node-2: sites/rack-1/ipxe.pxe in BIOS\n",
        "option 17 root-path http://192.168.88.10/tftp/flatcar.ipxe",
        "boots flatcar_production_pxe.vmlinuz\n",
    ] {
        assert!(second.contains(line), "{line} is not in:\n{second}");
    }
    let all = command(real, "", &["--all"]).output().unwrap();
    std::fs::write(&network, blank).unwrap();
    let all = String::from_utf8(all.stdout).unwrap();
    // In each firmware, as a host where there is one.
    assert!(all.contains("rehearse: 6 rehearsals in "), "{all}");
    let report = std::fs::read(real.project.join("dist/rehearsal/report.json")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    let names: Vec<&str> =
        report["rehearsals"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "node-1: ipxe.efi",
            "ipxe.pxe",
            "sites/rack-1/ipxe.efi",
            "node-2: sites/rack-1/ipxe.pxe",
            "sites/rack-2/ipxe.efi",
            "sites/rack-2/ipxe.pxe"
        ]
    );
    let page = std::fs::read_to_string(real.project.join("dist/rehearsal/report.html")).unwrap();
    assert!(page.contains("<title>rehearsal: 5 passed, 1 failed, 0 skipped</title>"), "{}", &page[..400]);
    Ok(())
}

/// Forms take keys like menus, and one that nobody fills in waits.
fn forms(real: &Real) -> Result<(), String> {
    skip::networks()?;
    real.sites(SITES);
    let script = "form Who are you?\nitem user User\nitem --secret password Password\n\
        present && echo ${user}-${password} || echo canceled\nexit\n";
    let said = |keys: &str| rehearse(real, script, &["--keys", keys]).success().stdout;
    let filled = said("type:u tab type:secret enter");
    assert!(filled.contains("form Who are you?\n") && filled.contains("echo u-secret\n"), "{filled}");
    let canceled = said("ctrl-c");
    assert!(canceled.contains("failed: Operation canceled") && canceled.contains("echo canceled\n"), "{canceled}");
    rehearse(real, script, &[]).printed("\n         waits for a key without end: present\n").failure(10);
    Ok(())
}

/// Whatever fails is shown, and an error without a failure as well.
fn commands_that_fail(real: &Real) -> Result<(), String> {
    skip::networks()?;
    real.sites(SITES);
    let fails = "fails, and returns to the firmware";
    for (script, shown, end, code) in [
        ("item a A\nmenu", &["item a A", "failed: No such file or directory"][..], fails, 10),
        ("show nosuchthing", &["show nosuchthing", "failed: No such file or directory"], fails, 10),
        ("param a b", &["param a b", "failed: *"], fails, 10),
        ("vcreate --tag 5000 net0", &["vcreate --tag 5000 net0", "failed: Invalid argument"], fails, 10),
        ("menu\nitem a A\nshow net0/mac\nexit", &["menu", "exit"], "returns to the firmware", 0),
        ("exit nope", &["exit nope", "failed: Invalid argument"], fails, 10),
        ("exit nope || exit 2", &["exit nope", "failed: Invalid argument", "exit 2"], "returns to the firmware", 0),
        ("boot", &["boot", "No image selected"], "returns to the firmware", 0),
        ("sanboot --no-such-option", &["sanboot --no-such-option", "failed: Invalid argument"], fails, 10),
        ("shell x", &["shell x", "failed: *"], fails, 10),
        ("reboot --help || exit", &["reboot --help", "failed: *", "exit"], "returns to the firmware", 0),
        ("shim --help || shim a b", &["shim --help", "failed: *", "shim a b", "failed: *"], fails, 10),
        ("shim --nosuch", &["shim --nosuch", "failed: Invalid argument"], fails, 10),
        ("cpuid --ext 31 || cpuid --ext 30 || exit", &["exit"], "returns to the firmware", 0),
    ] {
        let output = command(real, script, &[]).output().unwrap();
        let way = way(&String::from_utf8_lossy(&output.stdout));
        assert_eq!(output.status.code(), Some(code), "{script}\n{way:#?}");
        let shown = shown.iter().chain([&end]);
        let is = |line: &String, wanted: &str| match wanted.strip_suffix('*') {
            Some(start) => line.trim().starts_with(start),
            None => line.trim().split(" (https://ipxe.org/").next() == Some(wanted),
        };
        assert!(
            way.len() == shown.clone().count() && way.iter().zip(shown).all(|(it, wanted)| is(it, wanted)),
            "{way:#?}"
        );
    }
    Ok(())
}

/// Servers have what entries boot, and nothing is expected of an address that a script only shows.
fn what_servers_have(real: &Real) -> Result<(), String> {
    skip::networks()?;
    real.sites(&format!("{SITES}[boot.memtest]\nkind = \"linux\"\nkernel = \"http://192.0.2.9/memtest\"\n"));
    let script = "dhcp\necho see https://ipxe.org/err # https://192.0.2.8/\nchain http://192.0.2.2/memtest.ipxe\n";
    let output = rehearse(real, script, &[]).success();
    assert!(output.stdout.contains("GET http://192.0.2.9/memtest: 200, "), "{}", output.stdout);
    assert!(output.stdout.ends_with("boots memtest\n"), "{}", output.stdout);
    Ok(())
}

/// A relative address fails until DHCP or a person names a server, and belongs to that server afterwards.
fn relative_addresses(real: &Real) -> Result<(), String> {
    skip::networks()?;
    real.sites(SITES);
    for command in ["chain menu.ipxe", "kernel nope", "boot nope", "imgfetch a/b", "sanhook disk", "shim x"] {
        let said = rehearse(real, &format!("{command} || echo ${{cwuri}}AFTER\nexit\n"), &[]).success().stdout;
        let lines = way(&said);
        let lines: Vec<&str> = lines.iter().map(|line| line.trim().split(" (").next().unwrap()).collect();
        let wanted = [command, "failed: Operation not supported", "echo AFTER", "exit", "returns to the firmware"];
        assert_eq!(lines, wanted, "{said}");
    }
    let fetches = "imgfetch ipxe.efi && echo ${cwuri} THERE || echo NO FILE\nexit\n";
    let there = |script: &str, arguments: &[&str]| {
        let said = rehearse(real, script, arguments).success().stdout;
        assert!(said.contains("TFTP ipxe.efi: sent\n"), "{said}");
        assert!(said.contains("echo tftp://192.0.2.1/ THERE\n"), "{said}");
    };
    there(&format!("imgfetch ipxe.efi ||\ndhcp\n{fetches}"), &[]);
    there(
        &format!("ifopen\nset net0/ip 192.0.2.50\nset net0/netmask 255.255.255.0\n{fetches}"),
        &["--set", "net0/next-server=192.0.2.1"],
    );
    let clears = "dhcp\nclear net0.dhcp/next-server\nimgfetch ipxe.efi || echo NOBODY\nexit\n";
    let said = rehearse(real, clears, &[]).success().stdout;
    assert!(said.contains("failed: Operation not supported") && said.contains("echo NOBODY\n"), "{said}");
    Ok(())
}

/// A loader that gets itself from the server never comes to an end; another loader of the tree is something to boot.
fn loaders_that_load_themselves(real: &Real) -> Result<(), String> {
    skip::networks()?;
    real.sites(&format!("{SITES}[site.rack-1]\n"));
    let itself = "loads itself again";
    for (script, arguments, end) in [
        ("dhcp\nchain ${filename}\n", &["--loader", "ipxe.efi"][..], itself),
        ("autoboot\n", &["--loader", "ipxe.pxe"], itself),
        ("dhcp\nchain --name x http://192.0.2.2/ipxe.efi\n", &["--loader", "ipxe.efi"], itself),
        ("dhcp\nchain tftp://192.0.2.1/sites/rack-1/ipxe.efi\n", &["--site", "rack-1"], itself),
        ("dhcp\nchain tftp://192.0.2.1/ipxe.efi\n", &["--site", "rack-1"], "boots ipxe.efi"),
        ("dhcp\nchain tftp://192.0.2.1/ipxe.pxe\n", &["--loader", "ipxe.efi"], "boots ipxe.pxe"),
    ] {
        let output = command(real, script, arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(way(&said).pop().unwrap(), end, "{said}");
        assert_eq!(output.status.code(), Some(if end == itself { 10 } else { 0 }), "{said}");
    }
    Ok(())
}

/// Returns the processes whose command line contains `text`.
fn processes(text: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| std::fs::read_to_string(entry.path().join("cmdline")).ok());
    lines.filter(|line| line.contains(text)).collect()
}

fn interrupt(child: &Child) {
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// Waits until `is_done`.
fn until(what: &str, is_done: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_done() {
        assert!(started.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Ctrl-C ends a rehearsal at once, and leaves neither processes nor files.
fn nothing_left(real: &Real) -> Result<(), String> {
    skip::networks()?;
    real.sites(SITES);
    let scratch = real.project.join("scratch");
    std::fs::create_dir_all(&scratch).unwrap();
    let script = "dhcp\n:a\nimgfetch http://192.0.2.2/x ||\ngoto a\n";
    let mut command = command(real, script, &["--fault", "web-slow", "--answer", "http://192.0.2.2/x=stand-in"]);
    let mut child =
        command.env("TMPDIR", scratch.as_str()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let program = "rehearsal-0/ipxe";
    until("iPXE does not start", || processes(scratch.as_str()).iter().any(|line| line.contains(program)));
    interrupt(&child);
    let started = Instant::now();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(130), "{:?}", started.elapsed());
    let of_ours = || processes(scratch.as_str());
    until("a process is left", || of_ours().is_empty());
    let left: Vec<_> = std::fs::read_dir(&scratch).unwrap().flatten().map(|entry| entry.path()).collect();
    assert!(left.is_empty(), "{left:?}");
    Ok(())
}

/// A changed script is rehearsed again, and what is different is shown.
fn watched_scripts(real: &Real) -> Result<(), String> {
    skip::networks()?;
    real.sites(SITES);
    // What the command itself writes into a folder that it watches is no change.
    let answers = real.project.join("answers");
    std::fs::create_dir_all(&answers).unwrap();
    std::fs::write(answers.join("a"), "#!ipxe\n").unwrap();
    let (answer, record) = (format!("http://192.0.2.2/w/={answers}"), answers.join("way"));
    let options = ["--watch", "--answer", &answer, "--record", record.as_str()];
    let mut command = command(real, "echo first\nexit\n", &options);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut until_it_waits = || {
        let mut text = String::new();
        for line in lines.by_ref() {
            if line.starts_with("waiting for a change") {
                return text;
            }
            let _ = writeln!(text, "{line}");
        }
        panic!("it has ended:\n{text}");
    };
    let first = until_it_waits();
    assert!(first.contains("  echo first\n") && !first.contains("changed"), "{first}");
    let file = real.project.join("script.ipxe");
    std::fs::write(&file, "#!ipxe\necho second\nexit\n").unwrap();
    let second = until_it_waits();
    assert!(
        second.contains("what has changed since the last run:\n") && second.contains("\n-echo first\n+echo second\n"),
        "{second}"
    );
    // A mistake is said, and the next change mends it.
    std::fs::write(&file, "echo third\n").unwrap();
    until_it_waits();
    std::fs::write(&file, "#!ipxe\necho second\nexit\n").unwrap();
    let third = until_it_waits();
    assert!(third.contains("the way is the same as before\n"), "{third}");
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    Ok(())
}

/// What the kernel does not allow is said, with what to do.
fn forbidden_networks(real: &Real) -> Result<(), String> {
    skip::networks()?;
    real.sites(SITES);
    let inner = command(real, "exit\n", &[]);
    let words: Vec<&str> =
        std::iter::once(inner.get_program()).chain(inner.get_args()).map(|word| word.to_str().unwrap()).collect();
    // In a mount namespace of its own, the device is another one.
    let script = format!("mount --bind /dev/null /dev/net/tun && exec {}", words.join(" "));
    let output = Command::new("unshare").args(["-rm", "sh", "-c", &script]).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    // What is no such device fails where it is used first.
    assert!(error.contains("\n  | ioctl(TUNSETIFF): Inappropriate ioctl for device\n"), "{error}");
    let script = format!("mount -t tmpfs none /dev/net && exec {}", words.join(" "));
    let output = Command::new("unshare").args(["-rm", "sh", "-c", &script]).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        error.contains("error: cannot use `/dev/net/tun`: ") && error.contains("hint: as root, `modprobe tun`"),
        "{error}"
    );
    // Without capabilities, a network wants a user namespace of its own, and there can be none here.
    let none = "echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --bounding-set -all";
    let script = format!("{none} {}", words.join(" "));
    let output = Command::new("unshare").args(["-r", "sh", "-c", &script]).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    let hint = "hint: allow it with `sudo sysctl user.max_user_namespaces=10000`";
    assert!(
        error.contains("error: cannot create the user namespace of the test network") && error.contains(hint),
        "{error}"
    );
    Ok(())
}

/// Returns the addresses in requests of a boot test's or rehearsal's servers, in order.
fn addresses(log: &str) -> Vec<String> {
    let requests = log.lines().filter_map(|line| line.split_once(" GET "));
    requests
        .map(|(_, rest)| rest.trim_end().split([' ']).next().unwrap_or_default().trim_end_matches(':').to_owned())
        .collect()
}

/// Machines and rehearsals ask for the same addresses in the same order: for each shipped script, in BIOS and in UEFI.
/// Unless whole matrices run, one script in each.
fn as_in_machines(real: &Real) -> Result<(), String> {
    skip::machines()?;
    let script = "#!ipxe\nimgfree\nkernel http://192.0.2.2/vmlinuz\ninitrd http://192.0.2.2/initrd.img\nboot\n";
    let answer = real.project.join("answer.ipxe");
    std::fs::write(&answer, script).unwrap();
    let answer = format!("http://192.0.2.2/boot.ipxe={answer}");
    let scripts = ["root-path", "robust", "url", "menu"];
    let loaders = ["ipxe.efi", "ipxe.pxe"];
    let every: Vec<(&str, &str)> = scripts.iter().flat_map(|script| loaders.map(|loader| (*script, loader))).collect();
    let some = [("robust", "ipxe.efi"), ("menu", "ipxe.pxe")];
    let chosen = if full() { &every[..] } else { &some[..] };
    for (script, loader) in chosen {
        real.sites(&format!(
            "[default]\nloaders = [\"ipxe.efi\", \"ipxe.pxe\"]\nscript = \"{script}.ipxe\"\n\
             vars = {{ boot_url = \"http://192.0.2.2/boot.ipxe\" }}\n"
        ));
        real.build(&[]);
        let test = real.command(&["boot-test", "--attempts", "2", "--case", loader]).output().unwrap();
        assert!(test.status.success(), "{}", String::from_utf8_lossy(&test.stderr));
        let log = real.project.join("dist/boot-test/cases").join(loader).join("servers.log");
        let of_machine = addresses(&std::fs::read_to_string(log).unwrap());
        let output = command(real, "", &["--loader", loader, "--answer", &answer]).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let of_rehearsal = addresses(&said);
        assert_eq!(of_rehearsal, of_machine, "{script}, {loader}\n{said}");
        assert_eq!(of_machine.len(), 3, "{of_machine:?}");
    }
    Ok(())
}

/// What a person gives comes before what the project has, and nothing of it is lost.
fn given_answers(real: &Real) -> Result<(), String> {
    skip::networks()?;
    real.sites(SITES);
    let folder = real.project.join("www");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("boot.ipxe"), "#!ipxe\necho MINE\nparams\nparam a b\nchain next.ipxe##params\n")
        .unwrap();
    std::fs::write(folder.join("next.ipxe"), "#!ipxe\necho NEXT\nexit 1\n").unwrap();
    let answer = format!("http://192.0.2.2/={folder}");
    let record = real.project.join("way.txt");
    let arguments = ["--answer", &answer, "--record", record.as_str()];
    command(real, "dhcp\nchain ${root-path} || iseq a b\n", &arguments).output().unwrap();
    let said = std::fs::read_to_string(record).unwrap();
    let lines: Vec<&str> = said.lines().skip(3).map(str::trim).collect();
    // An `exit` of another script is no end of this one.
    assert_eq!(
        lines,
        [
            "chain http://192.0.2.2/boot.ipxe",
            "GET http://192.0.2.2/boot.ipxe: 200, 58 bytes",
            "echo MINE",
            "chain next.ipxe##params",
            "POST http://192.0.2.2/next.ipxe: 200, 24 bytes",
            "echo NEXT",
            "exit 1",
            "failed: Error",
            "failed: Error",
            "iseq a b",
            "failed: Result too large",
            "fails, and returns to the firmware",
        ],
        "{said}"
    );
    // Keys after `esc` are keys of their own.
    let menus = "menu\nitem a A\nchoose --timeout 9000 x || goto second\nexit\n:second\nmenu\nitem b B\nitem c C\nchoose y\necho ${y}\nexit\n";
    let said = rehearse(real, menus, &["--keys", "esc down enter"]).success().stdout;
    assert!(said.contains("keys: esc\n") && said.contains("echo c\n"), "{said}");
    let said = rehearse(real, "read x\nexit\n", &["--keys", "a ctrl-f b enter x"]).warned().stdout;
    assert!(said.contains("typed: ab\n"), "{said}");
    // What a script prints is no report of iPXE.
    let said = rehearse(real, "echo \u{1e}boot\u{1f}evil\u{1f}5\u{1f}\nexit\n", &[]).success().stdout;
    assert!(!said.contains("boots evil") && said.ends_with("returns to the firmware\n"), "{said}");
    // A loop that counts comes to its end.
    let script = ":l\ninc i\niseq ${i} 50 && exit ||\ngoto l\n";
    let said = rehearse(real, script, &[]).success().stdout;
    assert!(said.ends_with("returns to the firmware\n"), "{said}");
    Ok(())
}
