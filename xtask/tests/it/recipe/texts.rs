//! Recipes: each equals its file in `recipes/`.

use std::collections::BTreeSet;

use netboot_fixtures::project::Project;
use netboot_fixtures::recipe::{KINDS, NETWORK, SITES, project, written};
use netboot_fixtures::snapshot::redacted;
use netboot_fixtures::{same, says, shows, warns};

/// The boot entry that `boot` of [`NETWORK`] names.
const ENTRY: &str =
    "[boot.fedora-coreos]\nkind = \"fedora-coreos\"\nmirror = \"http://192.168.88.10/tftp/fedora-coreos\"\n";

netboot_fixtures::tests! {
    each_recipe_is_as_it_was_reviewed,
    a_recipe_is_printed_or_written_and_routeros_has_an_undo,
    what_a_person_should_know_is_said_beside_the_recipe,
    only_who_tells_machines_where_to_go_is_warned_of_that,
    a_script_that_the_tree_does_not_have,
    a_percent_sign_in_an_address_is_one_for_networkd,
    a_token_in_the_address_of_a_script_is_warned_of_and_never_shown,
    what_machines_could_not_reach_is_said_beside_the_recipe,
    an_address_of_https_is_said_to_loaders_that_know_it,
    each_spelling_of_option_17_gets_it,
    an_address_that_no_loader_follows_is_said,
    a_user_class_that_a_recipe_cannot_match_is_said,
    a_user_class_that_is_a_part_of_that_of_boot_roms_is_no_own_one,
    an_address_that_no_loader_of_such_a_network_can_use_is_refused,
    without_a_network_there_is_a_remedy,
    the_shipped_description_says_nothing_yet_and_becomes_one_without_its_marks,
    all_that_is_wrong_with_a_network_is_said_at_once,
    servers_and_machines_do_not_share_addresses,
    a_machine_may_be_called_what_other_things_are_called,
    a_machine_gets_the_loader_of_its_site_only_for_its_firmware,
    an_address_of_the_tree_is_a_folder_that_machines_reach,
    an_answer_has_room_for_all_dns_servers,
    a_loader_whose_address_is_too_long_for_an_answer_is_not_offered,
    a_machine_whose_own_address_is_too_long_does_not_get_that_of_all_others,
    what_a_server_cannot_do_is_said,
    a_machine_whose_site_asks_is_sent_somewhere,
    warnings_are_counted_once,
    firmware_that_a_machine_does_not_have_gets_the_common_loader_beside_another_server,
    a_network_of_one_kind_of_machine_gets_its_loader_from_networkd,
    a_machine_whose_firmware_the_tree_has_no_loader_for_is_named,
    what_is_imported_again_is_as_it_is_written_now_and_only_that_is_taken_back,
    what_a_server_would_take_for_something_else_is_said,
}

fn each_recipe_is_as_it_was_reviewed() {
    let project = project();
    let mut names = BTreeSet::new();
    for (_, path) in written(&project) {
        let name = path.file_name().unwrap().to_owned();
        redacted(&project.root, || same!(std::fs::read_to_string(&path).unwrap(), name.clone()));
        assert!(names.insert(name), "{path} would take another recipe's place");
    }
}

fn a_recipe_is_printed_or_written_and_routeros_has_an_undo() {
    let project = project();
    let printed = project.run(["recipe", "routeros"]).warned();
    project.run(["recipe", "routeros", "--out", project.path("out").as_str()]).warned();
    assert_eq!(printed.stdout.as_bytes(), project.read("out/netboot-routeros.rsc"));
    let undo = project.run(["recipe", "routeros", "--undo"]).warned();
    assert_eq!(undo.stdout.as_bytes(), project.read("out/netboot-routeros-undo.rsc"));
    // A router with flash memory loses files in other folders.
    project.write("embed-scripts/network.toml", &format!("tftp-root = \"/flash/tftp\"\n{NETWORK}"));
    let printed = project.run(["recipe", "routeros"]).warned().stdout;
    assert!(printed.contains(" real-filename=\"flash/tftp/ipxe.efi\" "), "{printed}");
    assert!(printed.contains(" dst-path=\"flash/tftp/ipxe.efi\"\n") && !printed.contains("\"tftp/"), "{printed}");
    shows!(project, ["recipe", "kea", "--undo"], @"
    exit code 3, stderr:
    warning: a boot ROM that is iPXE itself, as in QEMU and Proxmox VE, cannot be told from these loaders, and takes option 17 for a disk
    hint: let the script say `set user-class netboot-loaders` before `dhcp`, as robust.ipxe does
    warning: `boot` is `fedora-coreos.ipxe`, and the tree has no scripts
    hint: describe it as `[boot.fedora-coreos]` in sites.toml, put yours beside the tree, or write the whole address of another server
    error: the recipe `kea` needs no undo of its own
    hint: read in its first lines how it is taken back
    ");
    shows!(project, ["recipe"], "recipe-list");
    let list = project.run(["recipe"]).stdout;
    assert_eq!(list.lines().map(|line| line.split_whitespace().next().unwrap()).collect::<Vec<_>>(), KINDS);
    let list = project.run(["recipe"]).success();
    assert_eq!(list.stdout.lines().map(|line| line.split_whitespace().next().unwrap()).collect::<Vec<_>>(), KINDS);
}

fn what_a_person_should_know_is_said_beside_the_recipe() {
    let project = project();
    warns!(project, ["recipe", "dnsmasq"], @r"
    warning: a boot ROM that is iPXE itself, as in QEMU and Proxmox VE, cannot be told from these loaders, and takes option 17 for a disk
    hint: let the script say `set user-class netboot-loaders` before `dhcp`, as robust.ipxe does
    warning: `boot` is `fedora-coreos.ipxe`, and the tree has no scripts
    hint: describe it as `[boot.fedora-coreos]` in sites.toml, put yours beside the tree, or write the whole address of another server
    ");
    project.write("embed-scripts/network.toml", &NETWORK.replace("boot = \"fedora-coreos.ipxe\"\n", ""));
    warns!(project, ["recipe", "dnsmasq"], @r#"
    warning: `boot` is missing in network.toml, and the script of the loaders goes where option 17 says
    hint: name the iPXE script that machines go to, as in boot = "fedora-coreos.ipxe"
    warning: a boot ROM that is iPXE itself, as in QEMU and Proxmox VE, cannot be told from these loaders, and takes option 17 for a disk
    hint: let the script say `set user-class netboot-loaders` before `dhcp`, as robust.ipxe does
    "#);
    project.sites(&format!("{}{ENTRY}", SITES.replacen("boot.ipxe", "class.ipxe", 1)));
    warns!(project.write("embed-scripts/network.toml", NETWORK), ["recipe", "dnsmasq"], @"");
}

fn only_who_tells_machines_where_to_go_is_warned_of_that() {
    let project = project();
    project.sites(&format!("{SITES}{ENTRY}"));
    for network in [NETWORK, &NETWORK.replace("boot = \"fedora-coreos.ipxe\"\n", "")] {
        project.write("embed-scripts/network.toml", network);
        for kind in KINDS {
            let quiet = ["nginx", "nginx-synology", "caddy", "tftpd-hpa"].contains(&kind);
            let stderr = project.run(["recipe", kind]).warned().stderr;
            assert_eq!(stderr.is_empty(), quiet, "{kind}: {stderr}");
        }
    }
}

fn a_script_that_the_tree_does_not_have() {
    let project = project();
    let sites = SITES.replacen("boot.ipxe", "class.ipxe", 1);
    project.sites(&sites);
    let with = |boot: &str, of_host: &str| {
        let own = "boot = \"http://192.168.88.11:8080/boot/${net0/mac:hexhyp}.ipxe?a=b\"";
        assert!(NETWORK.contains(own));
        let network = NETWORK.replace("\"fedora-coreos.ipxe\"", &format!("\"{boot}\""));
        project.write("embed-scripts/network.toml", &network.replace(own, &format!("boot = \"{of_host}\"")))
    };
    let own = "http://192.168.88.11:8080/x.ipxe";
    warns!(with("fedora-coreos.ipxe", own), ["recipe", "dnsmasq"], @r"
    warning: `boot` is `fedora-coreos.ipxe`, and the tree has no scripts
    hint: describe it as `[boot.fedora-coreos]` in sites.toml, put yours beside the tree, or write the whole address of another server
    ");
    warns!(with(own, "http://192.168.88.10/tftp/rescue.ipxe?a=b"), ["recipe", "dnsmasq"], @r"
    warning: `boot` of the host `storage` is `rescue.ipxe`, and the tree has no scripts
    hint: describe it as `[boot.rescue]` in sites.toml, put yours beside the tree, or write the whole address of another server
    ");
    warns!(with("scripts/a.ipxe", own), ["recipe", "dnsmasq"], @r"
    warning: `boot` is `scripts/a.ipxe`, and the tree has no scripts
    hint: put yours beside the tree, or write the whole address of another server
    ");
    // A name with a variable refers to the user's own scripts.
    warns!(with("${net0/mac:hexhyp}.ipxe", own), ["recipe", "dnsmasq"], @"");
    // If the tree has scripts, another name is probably a typo.
    project.sites(&format!("{sites}{ENTRY}"));
    warns!(with("fedora-coreos.ipxe", "fedora-coreos.ipxe?a=b"), ["recipe", "dnsmasq"], @"");
    warns!(with("fedora-core.ipxe", own), ["recipe", "dnsmasq"], @r"
    warning: `boot` is `fedora-core.ipxe`, and the scripts of the tree are `fedora-coreos.ipxe`
    hint: name one of them, or put yours beside them
    ");
    warns!(with("fedora-coreos.ipxe", "a.ipxe"), ["recipe", "dnsmasq"], @r"
    warning: `boot` of the host `storage` is `a.ipxe`, and the scripts of the tree are `fedora-coreos.ipxe`
    hint: name one of them, or put yours beside them
    ");
    let of_host = project.run(["recipe", "dnsmasq"]).stderr;
    // Every command that reads both files reports it.
    let built = project.build(&["--index"]).warned();
    let listed =
        project.run(["boot-test", "--list", "--network", project.path("embed-scripts/network.toml").as_str()]).warned();
    assert_eq!([&built.stderr, &listed.stderr].map(|stderr| stderr.matches(&of_host).count()), [1, 1]);
}

fn a_percent_sign_in_an_address_is_one_for_networkd() {
    let project = project();
    project.write("embed-scripts/network.toml", &NETWORK.replace("fedora-coreos.ipxe", "a%20b.ipxe?x=100%25"));
    let ran = project.run(["recipe", "systemd-networkd"]).warned();
    assert!(
        ran.stdout.contains("\nSendOption=17:string:http://192.168.88.10/tftp/a%20b.ipxe?x=100%25\n"),
        "{}",
        ran.stdout
    );
}

fn a_token_in_the_address_of_a_script_is_warned_of_and_never_shown() {
    let project = project();
    let with = |boot: &str| {
        let text = NETWORK.replace("\"fedora-coreos.ipxe\"", &format!("{boot:?}"));
        project.write("embed-scripts/network.toml", &text);
        project.run(["recipe", "dnsmasq"])
    };
    for boot in ["boot.ipxe?token=S3CRET", "http://192.168.88.10/boot.ipxe?a=b&sig=S3CRET"] {
        let ran = with(boot).warned();
        let warning =
            ": an address with a token or a signature gets published: anybody who can fetch the file can read it\n";
        assert!(ran.stderr.contains(warning), "{}", ran.stderr);
        assert!(!ran.stderr.contains("S3CRET"), "{}", ran.stderr);
    }
    let entry = "[boot.a]\nkind = \"fedora-coreos\"\nmirror = \"http://192.168.88.10/tftp/fedora-coreos\"\n";
    project.sites(&format!("{SITES}{entry}"));
    assert!(!with("b.ipxe?token=S3CRET").warned().stderr.contains("S3CRET"));
    let long = format!("http://192.168.88.10/{}?token=S3CRET", "x".repeat(200));
    for boot in [
        "192.168.88.10:80/x?token=S3CRET",
        "boot.ipxe?token=S3CRET<",
        "http://192.168.88.10/x?token=S3CRET,x",
        "http://me:S3CRET@192.168.88.10/x",
        "me:S3CRET@192.168.88.10/x",
        "http:/me:S3CRET@192.168.88.10/x",
        &long,
    ] {
        let error = with(boot).error(3);
        assert!(!error.contains("S3CRET"), "{error}");
    }
}

fn what_machines_could_not_reach_is_said_beside_the_recipe() {
    let project = project();
    project.sites(&format!("{}{ENTRY}", SITES.replacen("boot.ipxe", "class.ipxe", 1)));
    let (gateway, dns) = ("gateway = \"192.168.88.1\"\n", "dns = [\"192.168.88.1\", \"9.9.9.9\"]\n");
    // Another warning is about what networkd cannot tell single machines.
    let same = "warning: systemd-networkd tells every machine the same, so `site` and `boot` of the host `worker` count \
                for nothing\nhint: choose another DHCP server\n";
    let warned = |kind: &str, network: String| {
        project.write("embed-scripts/network.toml", &network);
        project.run(["recipe", kind]).warned().stderr.replace(same, "")
    };
    let named = NETWORK.replace("http://192.168.88.10/", "http://boot.example.net/");
    for kind in ["kea", "isc-dhcpd", "systemd-networkd"] {
        assert_eq!(
            warned(kind, named.replace(dns, "")),
            "warning: `http-url` names `boot.example.net`, and network.toml has no `dns`, so machines cannot look it up\n\
             hint: add dns = [\"…\"], or write the server's IPv4 address\n"
        );
        let far = NETWORK.replace("http://192.168.88.10/", "http://198.51.100.10/");
        assert_eq!(
            warned(kind, far.replace(gateway, "")),
            "warning: `http-url` is at 198.51.100.10, outside of 192.168.88.0/24, and network.toml has no `gateway`, so machines cannot reach it\n\
             hint: add gateway = \"…\"\n\
             warning: `dns` has 9.9.9.9, outside of 192.168.88.0/24, and network.toml has no `gateway`, so machines cannot reach it\n\
             hint: add gateway = \"…\"\n"
        );
        assert_eq!(warned(kind, named.clone()) + &warned(kind, far), "");
    }
    // If nothing is configured, servers send their own settings.
    assert_eq!(warned("dnsmasq", named.replace(dns, "")), "");
    let local = NETWORK.replace("http://192.168.88.11:8080/", "http://nas.local/");
    warns!(project.write("embed-scripts/network.toml", &local), ["recipe", "routeros"], @r"
    warning: `boot` of the host `storage` names `nas.local`, and firmware and loaders look up no names that end in .local
    hint: write the server's IPv4 address, or a name that a DNS server knows
    ");
    // A boot entry that `boot` names, and not another one.
    let servers = |entry: &str, other: &str| {
        let of =
            |name: &str, server: &str| format!("[boot.{name}]\nkind = \"linux\"\nkernel = \"http://{server}/k\"\n");
        let entries = of("fedora-coreos", entry) + &of("other", other);
        project.sites(&format!("{}{entries}", SITES.replacen("boot.ipxe", "class.ipxe", 1)));
    };
    servers("198.51.100.10", "198.51.100.11");
    assert_eq!(
        warned("kea", NETWORK.replace(gateway, "").replace(dns, "")),
        "warning: `boot.fedora-coreos` is at 198.51.100.10, outside of 192.168.88.0/24, and network.toml has no `gateway`, so machines cannot reach it\n\
         hint: add gateway = \"…\"\n"
    );
    servers("nas.local", "far.local");
    assert_eq!(
        warned("dnsmasq", NETWORK.into()),
        "warning: `boot.fedora-coreos` names `nas.local`, and firmware and loaders look up no names that end in .local\n\
         hint: write the server's IPv4 address, or a name that a DNS server knows\n"
    );
}

fn an_address_of_https_is_said_to_loaders_that_know_it() {
    let project = project();
    let sites = SITES.replacen("boot.ipxe", "class.ipxe", 1);
    project.sites(&sites);
    let network = NETWORK.replacen("boot = \"fedora-coreos.ipxe\"", "boot = \"https://192.168.88.10/a.ipxe\"", 1);
    project.write("embed-scripts/network.toml", &network);
    warns!(project, ["recipe", "dnsmasq"], @r"
    warning: network.toml: `boot`: `https://` needs `DOWNLOAD_PROTO_HTTPS`, which a BIOS build does not have on its own: the bios loaders would stop there
    hint: name a configuration that has `#define DOWNLOAD_PROTO_HTTPS` with `config`, or leave those loaders out
    ");
    project.config("tls", "#define DOWNLOAD_PROTO_HTTPS\n");
    project.config("plain", "#define PING_CMD\n");
    // A host follows its own address, or that of all.
    let of_bios = network.replacen("120\"\nfirmware = \"uefi\"", "120\"\nfirmware = \"bios\"", 1);
    let of_site =
        sites.replacen("snponly.efi", "ipxe.pxe", 1).replacen("[default]\n", "[default]\nconfig = \"tls\"\n", 1);
    project.sites(&of_site.replacen("[site.rack-1]\n", "[site.rack-1]\nconfig = \"plain\"\n", 1));
    warns!(project.write("embed-scripts/network.toml", &of_bios), ["recipe", "dnsmasq"], @r"
    warning: network.toml: `boot`: `https://` needs `DOWNLOAD_PROTO_HTTPS`, which a BIOS build does not have on its own: the bios loaders would stop there (site `rack-1`)
    hint: name a configuration that has `#define DOWNLOAD_PROTO_HTTPS` with `config`, or leave those loaders out
    ");
    let own = of_bios.replacen("site = \"rack-1\"", "site = \"rack-1\"\nboot = \"https://192.168.88.10/b.ipxe\"", 1);
    warns!(project.write("embed-scripts/network.toml", &own), ["recipe", "dnsmasq"], @r"
    warning: network.toml: `host.worker.boot`: `https://` needs `DOWNLOAD_PROTO_HTTPS`, which a BIOS build does not have on its own: the bios loaders would stop there (site `rack-1`)
    hint: name a configuration that has `#define DOWNLOAD_PROTO_HTTPS` with `config`, or leave those loaders out
    ");
    project.write("embed-scripts/network.toml", &network);
    let with_tls = sites.replacen("[default]\n", "[default]\nconfig = \"tls\"\n", 1);
    warns!(project.sites(&with_tls), ["recipe", "dnsmasq"], @"");
}

/// Creates a project whose loaders all have a script of these lines, with a script for machines.
fn with_script(lines: &str) -> Project {
    let project = project();
    project.sites(&format!("[default]\nloaders = [\"ipxe.pxe\", \"ipxe.efi\"]\nscript = \"own.ipxe\"\n{ENTRY}"));
    project.write("embed-scripts/own.ipxe", &format!("#!ipxe\n{lines}\n"));
    project.write("embed-scripts/network.toml", NETWORK.split("[[host]]").next().unwrap());
    project
}

fn each_spelling_of_option_17_gets_it() {
    for line in ["chain ${net0/root-path}", "chain ${netX/root-path:string}", "chain ${17:string}", "autoboot"] {
        let project = with_script(&format!("set user-class own\ndhcp\n{line}"));
        for kind in ["routeros", "dnsmasq", "dnsmasq-proxy", "kea", "isc-dhcpd", "systemd-networkd"] {
            let ran = project.run(["recipe", kind]).warned();
            assert!(ran.stdout.contains("http://192.168.88.10/tftp/fedora-coreos.ipxe"), "{line}: {}", ran.stdout);
            assert_eq!(ran.stderr.is_empty(), line != "autoboot", "{line}: {}", ran.stderr);
        }
    }
    warns!(with_script("set user-class own\nautoboot"), ["recipe", "kea"], @r"
    warning: embed-scripts/own.ipxe:3: `autoboot` takes option 17 for a disk, and `boot` of network.toml is a script
    hint: let the script say `dhcp` and `chain ${root-path}`
    ");
}

fn an_address_that_no_loader_follows_is_said() {
    warns!(with_script("dhcp\n# not ${root-path}\nchain http://192.168.88.10/a"), ["recipe", "kea"], @r"
    warning: `boot` is set in network.toml, and no script of the loaders goes where option 17 says
    hint: let the script say `chain ${root-path}` after `dhcp`, as robust.ipxe does, or remove `boot`
    ");
    // One of the sites goes there.
    let project = project();
    project.sites(&format!(
        "[default]\nloaders = [\"ipxe.pxe\", \"ipxe.efi\"]\nscript = \"fixed.ipxe\"\n[site.rack-1]\nscript = \
         \"class.ipxe\"\n[site.fixed]\n{ENTRY}"
    ));
    warns!(project, ["recipe", "kea"], @r"
    warning: `boot` of the host `storage` counts for nothing: the script of its loader does not go where option 17 says
    hint: let the script say `chain ${root-path}` after `dhcp`, as robust.ipxe does, or remove `boot`
    ");
}

fn a_user_class_that_a_recipe_cannot_match_is_said() {
    let lines = "set user-class one\nset net0/user-class two\nset user-class my class\ndhcp && chain ${root-path}";
    let project = with_script(lines);
    warns!(project, ["recipe", "kea"], @r"
    warning: embed-scripts/own.ipxe:3: `set net0/user-class two`: wanted `set user-class NAME`: DHCP sends no option 17 to a loader whose user class is set in another way
    hint: let the script say `set user-class NAME` once, before its first `dhcp`, as robust.ipxe does
    warning: embed-scripts/own.ipxe:4: `set user-class my class`: wanted one word of at most 64 letters, digits, `.`, `_` and `-`: DHCP sends no option 17 to a loader with another user class
    hint: let the script say `set user-class NAME` once, before its first `dhcp`, as robust.ipxe does
    ");
    for kind in ["dnsmasq", "dnsmasq-proxy", "kea", "isc-dhcpd"] {
        let recipe = project.run(["recipe", kind]).warned().stdout;
        assert!(!recipe.contains("fedora-coreos.ipxe"), "{recipe}");
    }
    // These tell loaders by nothing, so they tell all machines.
    for kind in ["routeros", "systemd-networkd"] {
        let ran = project.run(["recipe", kind]).success();
        assert!(ran.stdout.contains("fedora-coreos.ipxe"), "{}", ran.stdout);
    }
    let project = with_script("set user-class one\nset user-class two\ndhcp && chain ${root-path}");
    warns!(project, ["recipe", "kea"], @r"
    warning: embed-scripts/own.ipxe:2: `set user-class one` is not the last user class before `dhcp`: DHCP sends option 17 to `two` alone
    hint: let the script say `set user-class NAME` once, before its first `dhcp`, as robust.ipxe does
    ");
    let recipe = project.run(["recipe", "kea"]).warned().stdout;
    assert!(recipe.contains("\"option[77].hex == 'two'\""), "{recipe}");
    // A host whose site has such a script gets no option 17, and not that of all others.
    project.write("embed-scripts/class.ipxe", "#!ipxe\nset user-class netboot-loaders\ndhcp && chain ${root-path}\n");
    project.sites(&format!("{}{ENTRY}", SITES.replace("\"fixed.ipxe\"", "\"own.ipxe\"")));
    project.write("embed-scripts/own.ipxe", &format!("#!ipxe\n{lines}\n"));
    project.write("embed-scripts/network.toml", NETWORK);
    let recipe = project.run(["recipe", "kea"]).warned().stdout;
    assert!(recipe.contains("not member('is-lab')") && !recipe.contains("\"loader-lab\""), "{recipe}");
}

/// dnsmasq takes a class for another one that is a part of it.
fn a_user_class_that_is_a_part_of_that_of_boot_roms_is_no_own_one() {
    for (class, own) in [("PXE", false), ("i", false), ("iPXE-loaders", true), ("pxe", true)] {
        let project = with_script(&format!("set user-class {class}\ndhcp && chain ${{root-path}}"));
        let ran = project.run(["recipe", "dnsmasq"]).warned();
        assert_eq!(ran.stderr.is_empty(), own, "{class}: {}", ran.stderr);
        assert_eq!(ran.stdout.contains("\ndhcp-boot=tag:loader,"), !own, "{class}: {}", ran.stdout);
    }
}

fn an_address_that_no_loader_of_such_a_network_can_use_is_refused() {
    let project = project();
    let mut all = String::new();
    for boot in
        ["iscsi:192.168.88.10::::iqn.x", "htp://192.168.88.10/a", "192.168.88.10/a.ipxe", "http://[2001:db8::1]/a"]
    {
        project.write("embed-scripts/network.toml", &NETWORK.replace("\"fedora-coreos.ipxe\"", &format!("\"{boot}\"")));
        all += &project.run(["recipe", "kea"]).to_string();
    }
    says!(project, all, @r"
    exit code 3, stderr:
    error: PROJECT/embed-scripts/network.toml:8: `boot`: found `iscsi:192.168.88.10::::iqn.x`, wanted an address that begins with http:// or https://: a disk is for `sanboot` in a script of your own
      hint: name a script below `http-url`, or write its whole address
    exit code 3, stderr:
    error: PROJECT/embed-scripts/network.toml:8: `boot`: found `htp://192.168.88.10/a`, wanted an address that begins with http:// or https://
      hint: name a script below `http-url`, or write its whole address
    exit code 3, stderr:
    error: PROJECT/embed-scripts/network.toml:8: `boot`: found `192.168.88.10/a.ipxe`, wanted http:// before the server, or a path below `http-url`
      hint: name a script below `http-url`, or write its whole address
    exit code 3, stderr:
    error: PROJECT/embed-scripts/network.toml:8: `boot`: found `http://[2001:db8::1]/a`, wanted the server's name, or its IPv4 address: IPv6 is not supported here
      hint: name a script below `http-url`, or write its whole address
    ");
}

fn without_a_network_there_is_a_remedy() {
    let project = project();
    std::fs::remove_file(project.path("embed-scripts/network.toml")).unwrap();
    shows!(project, ["recipe", "kea"], @"
    exit code 3, stderr:
    error: there is no `PROJECT/embed-scripts/network.toml`, which defines the addresses of servers and machines
    hint: bring back the one that comes with this tool with `git checkout embed-scripts/network.toml`, and change it
    ");
}

fn the_shipped_description_says_nothing_yet_and_becomes_one_without_its_marks() {
    let project = project();
    let shipped = include_str!("../../../../embed-scripts/network.toml");
    shows!(project.write("embed-scripts/network.toml", shipped), ["recipe", "kea"], @r"
    exit code 3, stderr:
    error: `PROJECT/embed-scripts/network.toml` has no settings yet
    hint: remove the `#` of the lines that you need, and write your own addresses
    ");
    let key =
        |line: &str| line.starts_with("# [") || line.split_once(" = ").is_some_and(|(key, _)| !key[2..].contains(' '));
    let lines = shipped.lines().map(|line| if line.starts_with("# ") && key(line) { &line[2..] } else { line });
    let text = lines.collect::<Vec<_>>().join("\n").replace("ssh-keys = [\"ssh-ed25519 AAAA... you@example.net\"]", "");
    project.write("embed-scripts/network.toml", &text);
    let recipe = project.run(["recipe", "dnsmasq"]).warned().stdout;
    assert!(recipe.contains("dhcp-host=00:50:56:00:01:01,set:host-k8s-master-01"), "{recipe}");
}

fn all_that_is_wrong_with_a_network_is_said_at_once() {
    let project = project();
    let bad = r#"
subnet = "192.168.88.0/24"
tftp-server = "192.168.89.1"
http-url = "http://192.168.88.10/a b"
ranges = ["192.168.88.20-192.168.88.30", "192.168.88.30-192.168.88.255", "x"]
dns = ["dns"]
tftp-root = "/srv/../tftp"
interface = ".."
spare = 1

[[host]]
name = "a"
mac = "00:50:56:00:01"
ip = "192.168.88.1"
firmware = "efi"

[[host]]
name = "b"
mac = "00:50:56:00:01:01"
ip = "192.168.88.21"
firmware = "bios"
site = "rack-1"

[[host]]
name = "B"
mac = "0050.5600.0101"
ip = "192.168.88.21"
firmware = "bios"
site = "gone"
hostname = "a_b"

[[host]]
ip = "10.0.0.1"
"#;
    project.write("embed-scripts/network.toml", bad);
    shows!(project, ["recipe", "kea"], "invalid-network");
}

fn servers_and_machines_do_not_share_addresses() {
    let project = project();
    let ranges = NETWORK.replace("192.168.88.100-", "192.168.88.5-").replace("192.168.88.21\"", "192.168.88.10\"");
    shows!(project.write("embed-scripts/network.toml", &ranges), ["recipe", "kea"], @r"
    exit code 3, stderr:
    error: PROJECT/embed-scripts/network.toml:5: `ranges`: 192.168.88.5-192.168.88.199 has 192.168.88.10, the address of the web server
      hint: leave the addresses of servers out of all ranges
    PROJECT/embed-scripts/network.toml:14: `host.ip`: found 192.168.88.10, the address of the web server
      hint: choose another address
    ");
}

fn an_address_of_the_tree_is_a_folder_that_machines_reach() {
    let project = project();
    let mut all = String::new();
    for (key, old, new) in [
        ("http-url", "http://192.168.88.10/tftp", "http://192.168.88.10?x"),
        ("http-url", "http://192.168.88.10/tftp", "http://192.168.88.10//tftp"),
        ("http-url", "http://192.168.88.10/tftp", "http://192.168.88.10/../x"),
        ("http-url", "http://192.168.88.10/tftp", "http://192.168.88.10:+80/tftp"),
        ("boot", "fedora-coreos.ipxe", ""),
        ("dns", "9.9.9.9", "127.0.0.53"),
        ("dns", "9.9.9.9", "192.168.88.255"),
        ("http-url", "http://192.168.88.10/tftp", "http://localhost/tftp"),
    ] {
        let network = NETWORK.replacen(&format!("\"{old}\""), &format!("\"{new}\""), 1);
        project.write("embed-scripts/network.toml", &network);
        let ran = project.run(["recipe", "kea", "--out", project.path("out").as_str()]);
        all += &format!("{key} = {new:?}\n{}", ran.stderr);
    }
    says!(project, all, @r#"
    http-url = "http://192.168.88.10?x"
    error: PROJECT/embed-scripts/network.toml:4: `http-url`: found `http://192.168.88.10?x`, wanted a path of letters, digits, `/`, `.`, `_`, `-`, `@` and `+`
      hint: write an address that any server and DHCP option can hold
    http-url = "http://192.168.88.10//tftp"
    error: PROJECT/embed-scripts/network.toml:4: `http-url`: found `http://192.168.88.10//tftp`, wanted a path without empty parts, `.` and `..`
      hint: write an address that any server and DHCP option can hold
    http-url = "http://192.168.88.10/../x"
    error: PROJECT/embed-scripts/network.toml:4: `http-url`: found `http://192.168.88.10/../x`, wanted a path without empty parts, `.` and `..`
      hint: write an address that any server and DHCP option can hold
    http-url = "http://192.168.88.10:+80/tftp"
    error: PROJECT/embed-scripts/network.toml:4: `http-url`: found `http://192.168.88.10:+80/tftp`, wanted a port from 1 to 65535
      hint: write an address that any server and DHCP option can hold
    boot = ""
    error: PROJECT/embed-scripts/network.toml:8: `boot`: is empty
      hint: name a script below `http-url`, or write its whole address
    dns = "127.0.0.53"
    error: PROJECT/embed-scripts/network.toml:7: `dns`: found 127.0.0.53, which machines reach no server at
      hint: write IPv4 addresses of servers
    dns = "192.168.88.255"
    error: PROJECT/embed-scripts/network.toml:7: `dns`: found 192.168.88.255, which machines reach no server at
      hint: write IPv4 addresses of servers
    http-url = "http://localhost/tftp"
    warning: a boot ROM that is iPXE itself, as in QEMU and Proxmox VE, cannot be told from these loaders, and takes option 17 for a disk
    hint: let the script say `set user-class netboot-loaders` before `dhcp`, as robust.ipxe does
    warning: `boot` is `fedora-coreos.ipxe`, and the tree has no scripts
    hint: describe it as `[boot.fedora-coreos]` in sites.toml, put yours beside the tree, or write the whole address of another server
    warning: `http-url` names `localhost`, which machines reach no server at
    hint: write the address that other machines reach the server at
    "#);
}

fn an_answer_has_room_for_all_dns_servers() {
    let project = project();
    let servers = |count: usize| (1..=count).map(|i| format!("\"192.0.2.{i}\"")).collect::<Vec<_>>().join(", ");
    let network = |count| NETWORK.replace("\"192.168.88.1\", \"9.9.9.9\"", &servers(count));
    project.write("embed-scripts/network.toml", &network(32));
    project.run(["recipe", "kea"]).warned();
    project.write("embed-scripts/network.toml", &network(33));
    shows!(project, ["recipe", "kea"], @r"
    exit code 3, stderr:
    error: PROJECT/embed-scripts/network.toml:7: `dns`: found 33 addresses, wanted at most 32: an answer of DHCP has to hold them beside all else
      hint: leave out all but the nearest ones
    ");
}

fn a_loader_whose_address_is_too_long_for_an_answer_is_not_offered() {
    let project = project();
    let folder = format!("http://192.168.88.10/{}", "x".repeat(90));
    let network = NETWORK.split("[[host]]").next().unwrap().replacen("http://192.168.88.10/tftp", &folder, 1);
    project.write("embed-scripts/network.toml", &network.replace("boot = \"fedora-coreos.ipxe\"\n", ""));
    let long =
        format!("[default]\nloaders = [\"arm64/ipxe-legacy.efi\", \"ipxe.efi\"]\nscript = \"boot.ipxe\"\n{}", "");
    project.sites(&long);
    let ran = project.run(["recipe", "kea"]).warned();
    assert!(ran.stdout.contains("19: ARM64 UEFI, over HTTP: the tree has no loader."), "{}", ran.stdout);
    assert!(ran.stdout.contains("/ipxe.efi\"") && !ran.stdout.contains("x/arm64/"), "{}", ran.stdout);
    assert!(
        ran.stderr.contains("/arm64/ipxe-legacy.efi` has 133 bytes, and the name of a boot file at most 127"),
        "{}",
        ran.stderr
    );
}

fn a_machine_whose_own_address_is_too_long_does_not_get_that_of_all_others() {
    let project = project();
    let path = "x".repeat(107 - "http://192.168.88.10/".len());
    project
        .write("embed-scripts/network.toml", &NETWORK.replace("192.168.88.10/tftp", &format!("192.168.88.10/{path}")));
    for kind in ["dnsmasq", "kea", "isc-dhcpd"] {
        let ran = project.run(["recipe", kind]).warned();
        assert!(ran.stderr.contains("so no machine of this kind gets a loader over HTTP\n"), "{}", ran.stderr);
        assert!(!ran.stdout.contains(&format!("{path}/ipxe.efi")), "{}", ran.stdout);
    }
}

fn what_a_server_cannot_do_is_said() {
    let project = project();
    project.sites(&format!("{}{ENTRY}", SITES.replacen("boot.ipxe", "class.ipxe", 1)));
    let without = |line: &str| {
        let kept = NETWORK.lines().filter(|found| !found.starts_with(line));
        kept.map(|line| format!("{line}\n")).collect::<String>()
    };
    let told = |network: &str, kind: &str, wanted: &str| {
        project.write("embed-scripts/network.toml", network);
        let stderr = project.run(["recipe", kind]).warned().stderr;
        assert!(stderr.contains(wanted), "{wanted}: {stderr}");
        stderr
    };
    let pool = "warning: `ranges` is missing, and systemd-networkd then gives any address of the subnet to machines\n";
    told(&without("ranges"), "systemd-networkd", pool);
    let lease = "warning: `ranges` is missing, and the host `lab` has no `ip`, so it gets no address\n";
    for kind in ["dnsmasq", "kea", "isc-dhcpd"] {
        told(&without("ranges"), kind, lease);
    }
    told(NETWORK, "systemd-networkd", "so `site` and `boot` of the host `worker` count for nothing\n");
    let https = NETWORK.replace("http://192.168.88.10/tftp", "https://192.168.88.10/tftp");
    told(&https, "caddy", "and Caddy signs the certificate of an address itself, which no loader trusts\n");
    let https = NETWORK.replace("http://192.168.88.10/tftp", "https://nas.example/tftp");
    assert!(!told(&https, "caddy", "").contains("Caddy"));
    let long = NETWORK.replace("http://192.168.88.10/tftp", &format!("http://{}.example/tftp", "a".repeat(37)));
    told(&long, "nginx", "has 45 bytes, and nginx takes longer names than 44 on request only\n");
    let own = NETWORK.replace("http://192.168.88.10/tftp", "http://192.168.88.255/tftp");
    told(&own, "dnsmasq", "warning: `http-url` names `192.168.88.255`, which machines reach no server at\n");
}

fn a_machine_whose_site_asks_is_sent_somewhere() {
    let project = project();
    project.write("embed-scripts/fixed.ipxe", "#!ipxe\ndhcp && chain http://192.168.88.11/a\n");
    project.sites(
        "[default]\nloaders = [\"ipxe.efi\"]\nscript = \"fixed.ipxe\"\n[site.rack-1]\nscript = \"boot.ipxe\"\n\
         [site.fixed]\nloaders = [\"ipxe.efi\"]\n",
    );
    let without = NETWORK.replace("boot = \"fedora-coreos.ipxe\"\n", "");
    project.write("embed-scripts/network.toml", &without);
    let stderr = project.run(["recipe", "dnsmasq"]).warned().stderr;
    assert!(stderr.contains("warning: `boot` is missing in network.toml, and"), "{stderr}");
    project.write("embed-scripts/network.toml", NETWORK);
    let stderr = project.run(["recipe", "dnsmasq"]).warned().stderr;
    assert!(stderr.contains("warning: a boot ROM that is iPXE itself"), "{stderr}");
}

fn warnings_are_counted_once() {
    let project = project();
    let hosts = (0..60).map(|i| {
        format!(
            "[[host]]\nname = \"m{i}\"\nmac = \"02:00:00:00:00:{i:02x}\"\nfirmware = \"bios\"\nboot = \"m{i}.ipxe\"\n"
        )
    });
    let network = NETWORK.split("\n[[host]]").next().unwrap().to_owned() + "\n" + &hosts.collect::<String>();
    project.write("embed-scripts/network.toml", &network);
    let stderr = project.run(["recipe", "dnsmasq"]).warned().stderr;
    assert!(stderr.ends_with("warning: there are 12 more warnings\n"), "{stderr}");
}

fn firmware_that_a_machine_does_not_have_gets_the_common_loader_beside_another_server() {
    let project = project();
    project.sites(SITES);
    let recipe = project.run(["recipe", "dnsmasq-proxy"]).warned().stdout;
    let lines: Vec<&str> = recipe.lines().collect();
    assert!(lines.contains(&"dhcp-mac=set:own-uefi,00:50:56:00:01:02"), "{recipe}");
    assert!(lines.iter().any(|line| line.starts_with("pxe-service=tag:!loader,tag:!own-bios,x86PC,")), "{recipe}");
    assert!(lines.iter().any(|line| line.starts_with("pxe-service=tag:!loader,tag:!own-uefi,X86-64_EFI,")), "{recipe}");
}

fn a_network_of_one_kind_of_machine_gets_its_loader_from_networkd() {
    let project = project();
    project.sites("[default]\nloaders = [\"ipxe.efi\", \"arm64/ipxe.efi\"]\nscript = \"boot.ipxe\"\n");
    let head = NETWORK.split("\n[[host]]").next().unwrap();
    let host = "\n[[host]]\nname = \"a\"\nmac = \"02:00:00:00:00:01\"\nfirmware = \"uefi-arm64\"\n";
    for (network, loader) in [(head.to_owned(), "ipxe.efi"), (format!("{head}{host}"), "arm64/ipxe.efi")] {
        project.write("embed-scripts/network.toml", &network);
        let recipe = project.run(["recipe", "systemd-networkd"]).warned().stdout;
        assert!(recipe.contains(&format!("\nBootFilename={loader}\n")), "{recipe}");
    }
}

fn a_machine_whose_firmware_the_tree_has_no_loader_for_is_named() {
    let project = project();
    let host = "[[host]]\nname = \"pi\"\nmac = \"00:50:56:00:01:05\"\nfirmware = \"uefi-arm64\"\n";
    let network = NETWORK.split("[[host]]").next().unwrap();
    project.write("embed-scripts/network.toml", &format!("{network}{host}"));
    warns!(project, ["recipe", "kea"], @r"
    warning: a boot ROM that is iPXE itself, as in QEMU and Proxmox VE, cannot be told from these loaders, and takes option 17 for a disk
    hint: let the script say `set user-class netboot-loaders` before `dhcp`, as robust.ipxe does
    warning: `boot` is `fedora-coreos.ipxe`, and the tree has no scripts
    hint: describe it as `[boot.fedora-coreos]` in sites.toml, put yours beside the tree, or write the whole address of another server
    warning: the host `pi` has UEFI for arm64, which the tree has no loader for, so it is left out
    hint: add one to `loaders`, such as `arm64/ipxe.efi`
    hint: or correct its `firmware`
    ");
    project.sites("[default]\nloaders = [\"ipxe.efi\", \"arm64/snponly.efi\"]\nscript = \"class.ipxe\"\n");
    let routeros = project.run(["recipe", "routeros"]).warned().stdout;
    for part in [
        "add name=\"netboot-67-arch-11\" code=67 value=\"'arm64/snponly.efi'\"",
        "add name=\"netboot-uefi-arm64\" options=netboot-66,netboot-67-arch-11,netboot-17",
        "add name=\"netboot-arch-11\" code=93 value=0x000b option-set=netboot-uefi-arm64",
        "dhcp-option-set=netboot-uefi-arm64 dhcp-option=netboot-12-host-pi",
    ] {
        assert!(routeros.contains(part), "{part} is not in:\n{routeros}");
    }
    let networkd = project.run(["recipe", "systemd-networkd"]).warned().stdout;
    assert!(networkd.contains("\nBootFilename=arm64/snponly.efi\n"), "{networkd}");
    assert!(networkd.contains("\n# BootFilename=ipxe.efi\n"), "{networkd}");
}

fn a_machine_may_be_called_what_other_things_are_called() {
    let project = project();
    let uefi = NETWORK.replace("\"worker\"", "\"uefi\"").replace("\"storage\"", "\"loader\"");
    project.write("embed-scripts/network.toml", &uefi.replace("\"lab\"", "\"arch-7\""));
    let script = project.run(["recipe", "routeros"]).warned().stdout;
    // Each name is added once: a later line would change the earlier entry.
    let names: Vec<&str> = script.split("add name=").skip(1).filter_map(|rest| rest.split(' ').next()).collect();
    for section in ["netboot-uefi", "netboot-host-uefi", "netboot-67-arch-7", "netboot-67-host-arch-7"] {
        assert_eq!(names.iter().filter(|name| **name == format!("\"{section}\"")).count(), 1, "{section}:\n{script}");
    }
    // What all machines with a tag get is not sent to a machine of that name, nor the other way round.
    for kind in ["dnsmasq", "dnsmasq-proxy"] {
        let text = project.run(["recipe", kind]).warned().stdout;
        let set = |line: &str| {
            line.split(',').any(|word| ["set:loader", "set:arch-7", "set:uefi"].iter().any(|tag| word.ends_with(tag)))
        };
        let by_host = text.lines().filter(|line| line.starts_with("dhcp-host=") || line.starts_with("dhcp-mac="));
        assert_eq!(by_host.filter(|line| set(line)).collect::<Vec<_>>(), Vec::<&str>::new());
    }
}

fn a_machine_gets_the_loader_of_its_site_only_for_its_firmware() {
    let project = project();
    // The root of the tree has no BIOS loader, but the rule that detects BIOS must exist.
    project.sites(
        "[default]\nloaders = [\"ipxe.efi\"]\nscript = \"class.ipxe\"\n[site.rack-1]\nloaders = [\"ipxe.pxe\"]\n",
    );
    let host = "[[host]]\nname = \"old\"\nmac = \"00:50:56:00:01:05\"\nfirmware = \"bios\"\nsite = \"rack-1\"\n";
    let network = NETWORK.split("[[host]]").next().unwrap();
    project.write("embed-scripts/network.toml", &format!("{network}{host}"));
    let recipe = |kind: &str| project.run(["recipe", kind]).warned().stdout;
    let dnsmasq = recipe("dnsmasq");
    assert!(dnsmasq.contains("\ndhcp-match=set:arch-0,option:client-arch,0\n"), "{dnsmasq}");
    assert!(dnsmasq.contains("\ndhcp-boot=tag:!loader,tag:host-old,tag:arch-0,sites/rack-1/ipxe.pxe,"), "{dnsmasq}");
    assert_eq!(dnsmasq.matches("sites/rack-1/ipxe.pxe").count(), 1, "{dnsmasq}");
    let proxy = recipe("dnsmasq-proxy");
    assert!(
        proxy.contains("pxe-service=tag:!loader,tag:host-old,x86PC,\"netboot-loaders\",sites/rack-1/ipxe.pxe,"),
        "{proxy}"
    );
    let kea = recipe("kea");
    let test = "\"member('is-old') and option[93].hex == 0x0000 and not member('loader')\"";
    assert!(kea.contains(test) && kea.matches("sites/rack-1/ipxe.pxe").count() == 1, "{kea}");
    let dhcpd = recipe("isc-dhcpd");
    let guarded =
        "    elsif option architecture = 00:00 {\n        # 0: BIOS\n        filename \"sites/rack-1/ipxe.pxe\";\n";
    assert!(dhcpd.contains(guarded), "{dhcpd}");
}

fn what_is_imported_again_is_as_it_is_written_now_and_only_that_is_taken_back() {
    let script = project().run(["recipe", "routeros"]).warned().stdout;
    // A TFTP rule is identified by its request: foreign rules have another one, even for the same file.
    let own = r#"[find req-filename="^(/|)ipxe\\.efi\$"]"#;
    assert!(script.contains(&format!("else={{ set {own} ip-addresses=192.168.88.0/24 real-filename=")), "{script}");
    let undo = project().run(["recipe", "routeros", "--undo"]).warned().stdout;
    assert!(undo.contains(&format!("\nremove {own}\n")) && !undo.contains("real-filename"), "{undo}");
    let line = "set [find mac-address=\"00:50:56:00:01:01\"] address=192.168.88.21 dhcp-option-set=";
    assert!(script.contains(line), "{script}");
}

fn what_a_server_would_take_for_something_else_is_said() {
    let project = project();
    for name in ["ignore", "infinite", "12h", "42"] {
        project.write("embed-scripts/network.toml", &NETWORK.replace("\"worker\"", &format!("\"{name}\"")));
        let error = project.run(["recipe", "dnsmasq"]).error(3);
        assert_eq!(
            error.replace(&format!("{}/", project.root), ""),
            format!(
                "embed-scripts/network.toml:19: `host.name`: found the name `{name}`, which dnsmasq takes for a lease time, or for a command\n  \
                 hint: name the machine with one label of DNS\n"
            )
        );
    }
    // nginx would start a block there, Caddy a placeholder.
    for path in ["t{a}", "$a", "a*", "a%20b"] {
        let url = format!("http://192.168.88.10/{path}");
        project.write("embed-scripts/network.toml", &NETWORK.replace("http://192.168.88.10/tftp", &url));
        assert_eq!(
            project.run(["recipe", "nginx"]).error(3).replace(&format!("{}/", project.root), ""),
            format!(
                "embed-scripts/network.toml:4: `http-url`: found `{url}`, wanted a path of letters, digits, `/`, `.`, `_`, `-`, `@` and `+`\n  \
                 hint: write an address that any server and DHCP option can hold\n"
            )
        );
    }
    let long = format!("{}.ipxe", "x".repeat(97));
    let text = NETWORK.replace("fedora-coreos.ipxe", &long);
    shows!(project.write("embed-scripts/network.toml", &text), ["recipe", "kea"], @r"
    exit code 3, stderr:
    error: PROJECT/embed-scripts/network.toml:8: `boot`: found an address of 128 bytes, wanted at most 127: it is the name of a boot file, too
      hint: name a script below `http-url`, or write its whole address
    ");
}
