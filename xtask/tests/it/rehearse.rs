//! What `rehearse` refuses before it builds or starts anything.

use netboot_fixtures::project::Project;
use netboot_fixtures::shows;

netboot_fixtures::tests! {
    sites_loaders_and_hosts,
    scripts,
    keys_settings_and_faults,
    answers,
    records_and_reports,
}

const NETWORK: &str = "subnet = \"192.0.2.0/24\"\ntftp-server = \"192.0.2.1\"\nhttp-url = \"http://192.0.2.2\"\n\
                       ranges = [\"192.0.2.100-192.0.2.199\"]\nboot = \"boot.ipxe\"\n";

/// Returns a project with the sites `rack-1` and `rack-2`.
fn project() -> Project {
    let project = Project::new();
    project.sites(
        "[default]\nloaders = [\"ipxe.pxe\", \"ipxe.efi\"]\nscript = \"boot.ipxe\"\n\
         [site.rack-1]\nloaders = [\"undionly.kpxe\"]\n[site.rack-2]\n",
    );
    project
}

fn sites_loaders_and_hosts() {
    let project = project();
    shows!(project, ["rehearse", "--site", "rack-3"], @"
    exit code 3, stderr:
    error: sites.toml has no site `rack-3` with iPXE loaders
    hint: choose from `rack-1`, `rack-2`
    ");
    shows!(project, ["rehearse", "--site", "rack-1", "--loader", "ipxe.efi"], @"
    exit code 3, stderr:
    error: the site `rack-1` has no loader `ipxe.efi`
    hint: choose from `undionly.kpxe`
    ");
    shows!(project, ["rehearse", "--loader", "lpxelinux.0"], @"
    exit code 3, stderr:
    error: found `lpxelinux.0`, wanted the name of an iPXE loader
    hint: choose from `ipxe.pxe`, `ipxe.efi`, `undionly.kpxe`, `ipxe-legacy.pxe`, `ipxe-legacy.efi`, `snponly.efi`; the UEFI loaders for other CPUs begin with `i386/`, `arm64/`, `arm32/`, `riscv64/`, `loong64/`
    ");
    shows!(project, ["rehearse", "--all", "--site", "rack-1"], @"
    exit code 2, stderr:
    error: the argument '--all' cannot be used with '--site <NAME>'

    Usage: cargo xtask rehearse --all

    For more information, try '--help'.
    ");
    shows!(project, ["rehearse", "--host", "web-1"], @"
    exit code 3, stderr:
    error: `PROJECT/embed-scripts/network.toml` has no host `web-1`
    hint: describe the network, and the machine in a table [[host]]
    ");
    let file = project.path("network.toml");
    let network = ["rehearse", "--network", file.as_str()];
    shows!(project, network, @"
    exit code 3, stderr:
    error: there is no `PROJECT/network.toml`, which defines the addresses of servers and machines
    hint: bring back the one that comes with this tool with `git checkout embed-scripts/network.toml`, and change it
    ");
    project.write("network.toml", NETWORK);
    shows!(project, [&network[..], &["--host", "web-1"]].concat(), @"
    exit code 3, stderr:
    error: `PROJECT/network.toml` has no host `web-1`
    hint: describe the network, and the machine in a table [[host]]
    ");
    let host = "[[host]]\nname = \"web-2\"\nmac = \"00:50:56:00:01:02\"\nfirmware = \"uefi\"\n";
    project.write("network.toml", &format!("{NETWORK}{host}"));
    shows!(project, [&network[..], &["--host", "web-1"]].concat(), @"
    exit code 3, stderr:
    error: `PROJECT/network.toml` has no host `web-1`
    hint: choose from `web-2`
    ");
    shows!(project, [&network[..], &["--host", "web-2", "--site", "rack-1"]].concat(), @"
    exit code 3, stderr:
    error: the site `rack-1` has no loader for `web-2`, which has UEFI
    hint: add one to its `loaders` in sites.toml
    ");
    shows!(project, [&network[..], &["--host", "web-2", "--loader", "ipxe.pxe"]].concat(), @"
    exit code 3, stderr:
    error: the root of the tree has no loader `ipxe.pxe` for `web-2`
    hint: choose from `ipxe.efi`
    ");
    project.sites(
        "[default]\nloaders = []\nscript = \"boot.ipxe\"\n\
         [site.rack-1]\nloaders = [\"undionly.kpxe\"]\nscript = \"boot.ipxe\"\n",
    );
    shows!(project, ["rehearse"], @"
    exit code 3, stderr:
    error: the root of the tree has no iPXE loaders
    hint: name a site with `--site`: `rack-1`
    ");
    project.sites("[default]\nloaders = [\"ipxe.efi\"]\nscript = \"boot.ipxe\"\n");
    shows!(project, ["rehearse", "--site", "rack-1"], @"
    exit code 3, stderr:
    error: sites.toml has no site `rack-1` with iPXE loaders
    hint: leave out `--site`: only the root of the tree has some
    ");
}

fn scripts() {
    let project = project();
    let file = project.path("menu.ipxe");
    let script = ["rehearse", "--script", file.as_str()];
    shows!(project, script, @"
    exit code 3, stderr:
    error: there is no `PROJECT/menu.ipxe`, wanted an iPXE script
    hint: give another path for `--script`
    ");
    project.write("menu.ipxe", "dhcp\n");
    shows!(project, script, @"
    exit code 3, stderr:
    error: `PROJECT/menu.ipxe` does not begin with `#!ipxe`, so iPXE would not take it for a script
    hint: make `#!ipxe` the first line
    ");
    project.write("menu.ipxe", "#!ipxe");
    shows!(project, script, @"
    exit code 3, stderr:
    error: `PROJECT/menu.ipxe` has no line break after `#!ipxe`, so iPXE would not take it for a script
    hint: write a line break after it
    ");
    project.write("menu.ipxe", "#!gpxe\rdhcp\r");
    shows!(project, script, @"
    exit code 3, stderr:
    error: `PROJECT/menu.ipxe` has only a carriage return after `#!gpxe`, so iPXE takes what follows for a comment
    hint: save the file with line feeds as line ends
    ");
    let long = format!("#!ipxe\n{}", "\n".repeat((64 << 10) - 7));
    project.write("menu.ipxe", &long);
    shows!(project, script, @"
    exit code 3, stderr:
    error: `PROJECT/menu.ipxe` has 65536 bytes, wanted fewer than 65536
    hint: no loader has room for it; let a short script load it
    ");
    shows!(project, ["rehearse", "--script", project.root.as_str()], @"
    exit code 1, stderr:
    error: cannot read `PROJECT`
      caused by: Is a directory (os error 21)
    hint: give the path of a file, or move that folder away
    ");
}

fn keys_settings_and_faults() {
    let project = project();
    shows!(project, ["rehearse", "--keys", "down entr"], @"
    exit code 2, stderr:
    error: invalid value 'down entr' for '--keys <KEYS>': found `entr`, wanted a single character, `ctrl-x`, `type:WORD`, or one of up, down, right, left, home, end, page-up, page-down, delete, enter, esc, tab, space, backspace, f5, f6, f7, f8, f9, f10, f11, f12, wait

    For more information, try '--help'.
    ");
    let error = project.run(["rehearse", "--keys", &"down ".repeat(1366)]).error(2);
    assert!(error.contains(": found 4098 bytes of keys, wanted 4096 at most\n"), "{error}");
    shows!(project, ["rehearse", "--set", "net0/next-server"], @"
    exit code 2, stderr:
    error: invalid value 'net0/next-server' for '--set <NAME=VALUE>': wanted a name, `=` and a value, as in `net0/next-server=192.0.2.1`

    For more information, try '--help'.
    ");
    shows!(project, ["rehearse", "--set", "=192.0.2.1"], @"
    exit code 2, stderr:
    error: invalid value '=192.0.2.1' for '--set <NAME=VALUE>': wanted a name, `=` and a value, as in `net0/next-server=192.0.2.1`

    For more information, try '--help'.
    ");
    shows!(project, ["rehearse", "--set", "dns=192.0.2.1,192.0.2.2"], @"
    exit code 2, stderr:
    error: invalid value 'dns=192.0.2.1,192.0.2.2' for '--set <NAME=VALUE>': found a comma or a line break, which no setting can have from the start

    For more information, try '--help'.
    ");
    shows!(project, ["rehearse", "--set", "net1/ip=192.0.2.9"], @"
    exit code 2, stderr:
    error: invalid value 'net1/ip=192.0.2.9' for '--set <NAME=VALUE>': found `net1/ip`, wanted a setting without a block, or one of net0 other than if and mac

    For more information, try '--help'.
    ");
    shows!(project, ["rehearse", "--fault", "web-away"], @"
    exit code 2, stderr:
    error: invalid value 'web-away' for '--fault <FAULT>'
      [possible values: no-dhcp, no-root-path, no-dns, web-down, web-404, web-slow, web-reset, tftp-loss]

      tip: a similar value exists: 'web-slow'

    For more information, try '--help'.
    ");
}

fn answers() {
    let project = project();
    project.write("www/menu.ipxe", "#!ipxe\n");
    let (folder, file) = (project.path("www"), project.path("www/menu.ipxe"));
    shows!(project, ["rehearse", "--answer", "http://192.0.2.10/menu.ipxe"], @"
    exit code 2, stderr:
    error: invalid value 'http://192.0.2.10/menu.ipxe' for '--answer <URL=ANSWER>': wanted an address, `=` and what is answered, as in `http://192.0.2.10/menu.ipxe=menu.ipxe`

    For more information, try '--help'.
    ");
    shows!(project, ["rehearse", "--answer", "http://192.0.2.10/menu.ipxe="], @"
    exit code 2, stderr:
    error: invalid value 'http://192.0.2.10/menu.ipxe=' for '--answer <URL=ANSWER>': wanted a file, a folder, stand-in, 404, slow or reset after the last `=`

    For more information, try '--help'.
    ");
    shows!(project, ["rehearse", "--answer", "tftp://192.0.2.10/menu.ipxe=404"], @"
    exit code 2, stderr:
    error: invalid value 'tftp://192.0.2.10/menu.ipxe=404' for '--answer <URL=ANSWER>': wanted an address as in http://192.0.2.10/menu.ipxe, before the last `=`

    For more information, try '--help'.
    ");
    shows!(project, ["rehearse", "--answer", &format!("http://192.0.2.10/a={folder}/none")], @"
    exit code 3, stderr:
    error: there is no `PROJECT/www/none`, wanted a file for `http://192.0.2.10/a`
    hint: give an existing path, or stand-in, 404, slow or reset
    ");
    shows!(project, ["rehearse", "--answer", &format!("http://192.0.2.10/={folder}/none")], @"
    exit code 3, stderr:
    error: there is no `PROJECT/www/none`, wanted a folder for `http://192.0.2.10/`
    hint: give an existing path, or stand-in, 404, slow or reset
    ");
    shows!(project, ["rehearse", "--answer", &format!("http://192.0.2.10/a={folder}")], @"
    exit code 3, stderr:
    error: `PROJECT/www` is a folder, wanted a file for `http://192.0.2.10/a`
    hint: end the address of a folder with a slash: `--answer http://192.0.2.10/a/=PROJECT/www`
    ");
    shows!(project, ["rehearse", "--answer", &format!("http://192.0.2.10/a/={file}")], @"
    exit code 3, stderr:
    error: `PROJECT/www/menu.ipxe` is a file, wanted a folder for `http://192.0.2.10/a/`
    hint: end the address of a file without a slash: `--answer http://192.0.2.10/a/NAME=PROJECT/www/menu.ipxe`
    ");
}

fn records_and_reports() {
    let project = project();
    let record = project.path("way.txt");
    shows!(project, ["rehearse", "--expect", record.as_str()], @"
    exit code 3, stderr:
    error: there is no `PROJECT/way.txt`, wanted a way that `--record` has written
    hint: write it with `--record PROJECT/way.txt`
    ");
    shows!(project, ["rehearse", "--expect", record.as_str(), "--record", record.as_str()], @"
    exit code 2, stderr:
    error: the argument '--expect <FILE>' cannot be used with '--record <FILE>'

    Usage: cargo xtask rehearse --expect <FILE>

    For more information, try '--help'.
    ");
    shows!(project, ["rehearse", "--record", project.path("vendor/way.txt").as_str()], @"
    exit code 1, stderr:
    error: cannot write to `PROJECT/vendor/way.txt`: `PROJECT/vendor` holds inputs of the build or the cache
    hint: choose a folder outside
    ");
    project.write("report/mine.txt", "");
    shows!(project, ["rehearse", "--report", project.path("report").as_str()], @"
    exit code 1, stderr:
    error: `PROJECT/report` is not empty, and no report of rehearsals
    hint: choose another folder with `--report`
    ");
    project.write("dist/rehearsal/mine.txt", "");
    shows!(project, ["rehearse", "--all"], @"
    exit code 1, stderr:
    error: `PROJECT/dist/rehearsal` is not empty, and no report of rehearsals
    hint: choose another folder with `--report`
    ");
}
