//! Inventories of sites: the sites that their rows and files become, and the messages about errors in them.

use std::fmt::Write as _;
use std::sync::Arc;

use netboot_fixtures::project::{CliOutput, Project};
use netboot_fixtures::{says, shows, warns};
use netboot_loaders::base::paths;
use netboot_loaders::config::pins::Pins;
use netboot_loaders::config::sites::{Options, Site, Sites};
use netboot_loaders::stamp::slot::SlotSize;

netboot_fixtures::tests! {
    a_row_becomes_a_site,
    a_file_of_a_folder_becomes_a_site_with_all_that_a_site_can_say,
    inventories_on_the_command_line_take_the_rest_from_the_default,
    a_sheet_is_read_as_programs_in_other_countries_write_it,
    what_is_wrong_with_a_csv_file_is_told_by_line,
    what_is_wrong_with_a_folder_is_told_by_file,
    an_inventory_without_sites_is_refused_rather_than_published,
    a_name_is_there_once_in_all_of_the_choices,
    a_mistake_of_many_sites_is_told_once,
    an_address_that_no_script_uses,
    a_script_that_is_too_long_gets_a_larger_slot_when_asked,
    ; slow:
    a_hundred_thousand_rows_are_read_whole_and_share_what_they_have_in_common,
}

const DEFAULT: &str = "[default]\nloaders = [\"ipxe.efi\"]\nscript = \"url.ipxe\"\n";

/// Returns a project whose script goes to `boot_url`, which only inventories set.
fn project(inventories: &str) -> Project {
    let project = Project::new();
    project.write("embed-scripts/url.ipxe", "#!ipxe\nchain {{ boot_url }} # {{ site }}\n");
    project.sites(&format!("[default]\nloaders = []\nscript = \"url.ipxe\"\n{inventories}"));
    project
}

/// Returns a project with the inventory `racks.csv`.
fn with_csv(csv: &str) -> Project {
    let project = project("[inventory.racks]\nfrom = \"racks.csv\"\nloaders = [\"ipxe.efi\"]\n");
    project.write("embed-scripts/racks.csv", csv);
    project
}

fn read(project: &Project, options: &Options) -> Sites {
    let folder = paths::ProjectPaths::new(project.root.clone());
    let pins = Pins::parse("pins.toml".into(), &String::from_utf8(project.read("vendor/pins.toml")).unwrap()).unwrap();
    Sites::read(&folder, &pins, options).unwrap()
}

/// Returns the sites of the project, each with its script.
fn scripts(project: &Project, options: &Options) -> Vec<(String, String)> {
    let script = |site: &Site| {
        assert_eq!(site.slot_sha256, site.script().slot().digest());
        (site.name.clone().unwrap_or_default(), site.script().text().to_owned())
    };
    read(project, options).iter().map(script).collect()
}

fn plan(project: &Project) -> Vec<String> {
    project.build_arguments(&["--plan"])
}

fn a_row_becomes_a_site() {
    let csv = "asset,name,boot_url\r\n1,b,http://192.0.2.1/b\r\n2,\"a-b\",\"http://192.0.2.1/x,y\"\r\n3,a,\r\n";
    let project = with_csv(&format!("\u{feff}{csv}"));
    project.sites(&format!(
        "{DEFAULT}vars = {{ boot_url = \"http://192.0.2.1/\" }}\n[inventory.racks]\nfrom = \"racks.csv\"\n"
    ));
    // An empty cell sets nothing, so the default applies; `a/` sorts after `a-b/`.
    assert_eq!(
        scripts(&project, &Options::default()),
        [
            (String::new(), "#!ipxe\nchain http://192.0.2.1/ # default\n".to_owned()),
            ("a-b".into(), "#!ipxe\nchain http://192.0.2.1/x,y # a-b\n".into()),
            ("a".into(), "#!ipxe\nchain http://192.0.2.1/ # a\n".into()),
            ("b".into(), "#!ipxe\nchain http://192.0.2.1/b # b\n".into()),
        ]
    );
    let plan = project.build(&["--plan"]).success().stdout;
    for path in ["ipxe.efi", "sites/a-b/ipxe.efi", "sites/a/ipxe.efi", "sites/b/ipxe.efi"] {
        assert!(plan.contains(&format!("\n  {path} = ipxe.efi with url.ipxe (slot ")), "{plan}");
    }
}

fn a_file_of_a_folder_becomes_a_site_with_all_that_a_site_can_say() {
    let project =
        project("[inventory.lab]\nfrom = \"lab\"\nloaders = [\"ipxe.efi\"]\nvars = { boot_url = \"${x}\" }\n");
    project.write("embed-scripts/lab/a.toml", "vars = { boot_url = \"${y}\" }\nslot = 8192\n");
    project
        .write("embed-scripts/lab/b.1.toml", "script = \"boot.ipxe\"\nloaders = [\"undionly.kpxe\"]\nconfig = \"c\"\n");
    project.write("embed-scripts/lab/c.toml", "");
    project.write("embed-scripts/lab/.hidden.toml", "no TOML");
    project.write("embed-scripts/lab/README", "no TOML");
    project.config("c", "");
    let sites = read(&project, &Options::default()).sites;
    let told: Vec<String> = sites
        .iter()
        .map(|site| {
            let (name, loaders) = (site.name.as_deref().unwrap(), site.loaders.len());
            format!("{name} {} {loaders} {} {} {:?}", site.source(), site.loaders[0], site.config.name, site.slot)
        })
        .collect();
    assert_eq!(
        told,
        [
            "a url.ipxe 1 ipxe.efi default SlotSize(8192)",
            "b.1 boot.ipxe 1 undionly.kpxe c SlotSize(4096)",
            "c url.ipxe 1 ipxe.efi default SlotSize(4096)"
        ]
    );
    assert_eq!(sites[0].script().text(), "#!ipxe\nchain ${y} # a\n");
    assert_eq!(sites[2].script().text(), "#!ipxe\nchain ${x} # c\n");
    assert_eq!(sites[0].script().slot().bytes().len(), 8192);
}

fn inventories_on_the_command_line_take_the_rest_from_the_default() {
    let project = project("");
    project.write("racks.csv", "name,boot_url\na,http://192.0.2.1/a\n");
    project.write("elsewhere/lab/b.toml", "vars = { boot_url = \"http://192.0.2.1/b\" }\n");
    let arguments = project.build_arguments(&["--plan", "--sites", "racks.csv", "--sites", "elsewhere/lab"]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let run = || CliOutput::from(project.command(&arguments).current_dir(&project.root).output().unwrap());
    says!(project, run(), @r"
    exit code 3, stderr:
    error: elsewhere/lab/b.toml:1: `loaders`: is missing, and none come from elsewhere
      hint: list the loaders, or none with []
    embed-scripts/sites.toml:1: `default.loaders`: is empty, so nothing would come of `racks.csv`
      hint: list the loaders
    ");
    let sites = "[default]\nloaders = [\"ipxe.efi\"]\nscript = \"url.ipxe\"\nvars = { boot_url = \"${x}\" }\n";
    project.sites(sites);
    let plan = run().success().stdout;
    assert!(plan.contains("sites/a/ipxe.efi = ") && plan.contains("sites/b/ipxe.efi = "), "{plan}");
    project.write("racks.csv", "name,boot_url\nb,http://192.0.2.1/a\n");
    std::fs::remove_file(project.path("elsewhere/lab/b.toml")).unwrap();
    project.write("elsewhere/lab/B.toml", "");
    says!(project, run(), @r"
    exit code 3, stderr:
    error: elsewhere/lab/B.toml:1: `B` differs from the site `b`, at racks.csv:2, only in case, and some TFTP servers ignore case
      hint: rename one of them
    ");
    std::fs::remove_file(project.path("elsewhere/lab/B.toml")).unwrap();
    project.sites(&format!("{sites}[inventory.racks]\nfrom = \"../racks.csv\"\n").replace("../", ""));
    std::os::unix::fs::symlink(project.path("racks.csv"), project.path("embed-scripts/racks.csv")).unwrap();
    let twice = project.build_arguments(&["--plan", "--sites", "racks.csv"]);
    let twice: Vec<&str> = twice.iter().map(String::as_str).collect();
    let ran = CliOutput::from(project.command(&twice).current_dir(&project.root).output().unwrap());
    says!(project, ran, @"
    exit code 3, stderr:
    error: racks.csv: the inventory `racks.csv` was named before
      hint: name it once
    ");
    shows!(project, ["build-loaders", "--plan", "--sites", ""], @r"
    exit code 2, stderr:
    error: invalid value '' for '--sites <PATH>': found nothing, wanted the path of a file or a folder

    For more information, try '--help'.
    ");
    for command in ["boot-test", "reproduce"] {
        let help = project.run([command, "--help"]).success().stdout;
        assert!(help.contains("--sites <PATH>") && help.contains("--relink"), "{help}");
    }
}

fn a_sheet_is_read_as_programs_in_other_countries_write_it() {
    for separator in [";", "\t"] {
        let csv =
            "name;boot_url;note\r\na;http://192.0.2.1/a,b;\"one\ntwo\"\r\n;;\r\n \u{a0};;\r\nb;${mac};\r\n;;;;;\r\n";
        let project = with_csv(&format!("\u{feff}{}", csv.replace(';', separator)));
        assert_eq!(
            scripts(&project, &Options::default()),
            [
                ("a".to_owned(), "#!ipxe\nchain http://192.0.2.1/a,b # a\n".to_owned()),
                ("b".into(), "#!ipxe\nchain ${mac} # b\n".into())
            ]
        );
    }
    let project = with_csv("name;boot_url,note\n");
    shows!(project, plan(&project), @r"
    exit code 3, stderr:
    error: embed-scripts/racks.csv:1: has a comma and a semicolon in its header, wanted one of them between columns
      hint: let header and rows have the same between columns, and nothing else of the kind in the header
    ");
}

fn what_is_wrong_with_a_csv_file_is_told_by_line() {
    let project = with_csv("name,boot_url\na/b,${x}\n,\nc,\"${x}\ny\"\nd,x,y\n,x\ne,${x}\ne,${y}\n\"f,x\n");
    shows!(project, plan(&project), @r"
    exit code 3, stderr:
    error: embed-scripts/racks.csv:2: `name`: found the site name `a/b`, wanted 1 to 63 letters, digits, `-`, `_` or `.`, not starting with `.` or `-`, not ending with `.`
      hint: rename the site: its name becomes a folder of the tree
    embed-scripts/racks.csv:4: `boot_url`: found `${x}\ny`, with a line break, wanted one line of text
      hint: remove it: a variable cannot have more than one line, nor tabs
    embed-scripts/racks.csv:6: found 3 values, wanted 2: `name`, `boot_url`
      hint: give the row a value for each column, if only an empty one, and put a value with a comma into quotes
    embed-scripts/racks.csv:7: `name`: found the site name ``, wanted 1 to 63 letters, digits, `-`, `_` or `.`, not starting with `.` or `-`, not ending with `.`
      hint: rename the site: its name becomes a folder of the tree
    embed-scripts/racks.csv:9: `e` is the name of a site already, at embed-scripts/racks.csv:8
      hint: rename or remove one of them
    embed-scripts/racks.csv:10: has a quote without its counterpart
      hint: put the value into quotes, and write each quote in it twice
    ");
    shows!(project.write("embed-scripts/racks.csv", "site;boot_url\na;x\n"), plan(&project), @r"
    exit code 3, stderr:
    error: embed-scripts/racks.csv:1: found the columns `site`, `boot_url`, wanted a column `name`
      hint: add the column with the sites' names; a comma, a semicolon or a tab is between columns
    embed-scripts/racks.csv:1: `site`: is the site's name and cannot be set
      hint: choose another name for the variable
    ");
    std::fs::write(project.path("embed-scripts/racks.csv"), b"name,boot_url\na,x\nb,\xff\n").unwrap();
    shows!(project, plan(&project), @r"
    exit code 3, stderr:
    error: embed-scripts/racks.csv:3: is not UTF-8
      hint: save the file as UTF-8
    ");
}

fn what_is_wrong_with_a_folder_is_told_by_file() {
    let project = project("[inventory.lab]\nfrom = \"lab\"\nloaders = [\"ipxe.efi\"]\nvars = { boot_url = \"x\" }\n");
    project.write("embed-scripts/lab/-.toml", "");
    project.write("embed-scripts/lab/a.toml", "vras = {}\nslot = 100\nscript = \"gone.ipxe\"\n");
    project.write("embed-scripts/lab/b.TOML", "");
    project.write("embed-scripts/lab/c.toml", "vars = {\n");
    project.write("embed-scripts/lab/more/d.toml", "");
    shows!(project, plan(&project), @r"
    exit code 3, stderr:
    error: embed-scripts/lab/-.toml: found the site name `-`, wanted 1 to 63 letters, digits, `-`, `_` or `.`, not starting with `.` or `-`, not ending with `.`
      hint: rename the site: its name becomes a folder of the tree
    embed-scripts/lab/a.toml:1: `vras`: is not a key that is known here
      hint: known here: `config`, `loaders`, `media`, `script`, `slot`, `trust`, `vars`
    embed-scripts/lab/a.toml:2: `slot`: found 100, wanted a multiple of 4096 up to 65536
      hint: choose such a size, as in slot = 8192
    embed-scripts/lab/a.toml:3: `script`: there is no script `gone.ipxe` in embed-scripts
      hint: create the file, or name another one
    embed-scripts/lab/b.TOML: is not read: only *.toml is
      hint: rename it
    embed-scripts/lab/c.toml:1: unclosed inline table, expected `}`
      hint: write it as TOML 1.0: put text into double quotes, and names with spaces, too
    embed-scripts/lab/more: is a folder, and a folder in an inventory is not read
      hint: make it an inventory of its own, or move it elsewhere
    ");
}

fn an_inventory_without_sites_is_refused_rather_than_published() {
    let project = with_csv("name,boot_url\n");
    shows!(project, plan(&project), @r"
    exit code 3, stderr:
    error: embed-scripts/racks.csv: has no row below its header, so there are no sites in it
      hint: add sites, or do not ask for this inventory
    ");
    shows!(project.write("embed-scripts/racks.csv", ""), plan(&project), @r"
    exit code 3, stderr:
    error: embed-scripts/racks.csv: is empty, wanted a header with the column `name`
      hint: begin with a line that names the columns: `name`, and a variable each
    ");
    std::fs::remove_file(project.path("embed-scripts/racks.csv")).unwrap();
    shows!(project, plan(&project), @r"
    exit code 3, stderr:
    error: embed-scripts/sites.toml:5: `inventory.racks.from`: there is no inventory `embed-scripts/racks.csv`
      hint: create it, or name another one: a CSV file, or a folder of *.toml
    ");
    std::fs::create_dir(project.path("embed-scripts/racks.csv")).unwrap();
    shows!(project, plan(&project), @r"
    exit code 3, stderr:
    error: embed-scripts/racks.csv: has no *.toml, so there are no sites in it
      hint: add sites, or do not ask for this inventory
    ");
    let outside = "[default]\nloaders = []\n[inventory.a]\nfrom = \"../a.csv\"\n[inventory.b]\n";
    shows!(project.sites(outside), plan(&project), @r"
    exit code 3, stderr:
    error: embed-scripts/sites.toml:4: `inventory.a.from`: found `../a.csv`, wanted a path inside embed-scripts
      hint: copy the file into embed-scripts and name it without `..`
    embed-scripts/sites.toml:5: `inventory.b.from`: is missing
      hint: name a CSV file, or a folder of *.toml
    ");
    let none = "[default]\nloaders = []\n";
    shows!(project.sites(none), project.build_arguments(&["--plan", "--sites", "/gone.csv"]), @r"
    exit code 3, stderr:
    error: /gone.csv: there is no inventory `/gone.csv`
      hint: create it, or name another one: a CSV file, or a folder of *.toml
    ");
}

fn a_name_is_there_once_in_all_of_the_choices() {
    let project = project(
        "[site.a]\nloaders = [\"ipxe.efi\"]\nscript = \"boot.ipxe\"\n\
         [inventory.one]\nfrom = \"one.csv\"\nloaders = [\"ipxe.efi\"]\n[inventory.two]\nfrom = \"two\"\nloaders = [\"ipxe.efi\"]\nvars = { boot_url = \"http://x\" }\n",
    );
    project.write("embed-scripts/one.csv", "name,boot_url\na,${x}\nB,${x}\n");
    shows!(project.write("embed-scripts/two/b.toml", ""), plan(&project), @r"
    exit code 3, stderr:
    error: embed-scripts/one.csv:2: `a` is the name of a site already, at embed-scripts/sites.toml:4
      hint: rename or remove one of them
    embed-scripts/two/b.toml:1: `b` differs from the site `B`, at embed-scripts/one.csv:3, only in case, and some TFTP servers ignore case
      hint: rename one of them
    ");
}

fn a_mistake_of_many_sites_is_told_once() {
    let mut csv = "name,boot_url,cmd\n".to_owned();
    for number in 0..1000 {
        let cmd = if number % 2 == 0 { "shell" } else { "wget" };
        writeln!(csv, "s{number},http://192.0.2.1/,{cmd}").unwrap();
    }
    let project = with_csv(&csv);
    let script = "#!ipxe\nchian x\nchain {{ boot_ulr }}\n{{ cmd }}\n";
    shows!(project.write("embed-scripts/url.ipxe", script), plan(&project), @r"
    exit code 3, stderr:
    error: embed-scripts/url.ipxe:2: `chian` is not a command of iPXE
      hint: write `chain`, or see https://ipxe.org/cmd for the commands
    embed-scripts/url.ipxe:3: undefined value: `boot_ulr` is undefined, for the site `s0` at embed-scripts/racks.csv:2 and 999 others
      hint: set it under `vars`, or in a column of the inventory; known here: `site`, `boot_url`, `cmd`
    embed-scripts/url.ipxe:4: `wget` is not a command of iPXE, for the site `s1` at embed-scripts/racks.csv:3 and 499 others
      hint: see https://ipxe.org/cmd for the commands
    ");
    project.write("embed-scripts/url.ipxe", "#!ipxe\ngoto {{ site }}\n");
    let error = project.build(&["--plan"]).error(3);
    assert!(error.ends_with("\nand 950 more findings\n"), "{error}");
    assert_eq!(error.lines().count(), 101);
    project.write("embed-scripts/url.ipxe", "#!ipxe\nping x # {{ boot_url }}\n");
    let ran = project.build(&["--plan"]).warned();
    assert_eq!(ran.stderr.matches("warning").count(), 1, "{}", ran.stderr);
}

fn an_address_that_no_script_uses() {
    let project = project("");
    project
        .write("embed-scripts/maybe.ipxe", "#!ipxe\n{% if url is defined %}\nchain {{ url }} ||\n{% endif %}\nshell\n");
    project.write("racks.csv", "name,boot_url,asset\na,http://192.0.2.1/a,A-1\nb,http://192.0.2.1/b,\n");
    let csv = project.path("racks.csv");
    let rows = project.build_arguments(&["--plan", "--sites", csv.as_str()]);
    let default = "[default]\nloaders = [\"ipxe.efi\"]\nscript = \"boot.ipxe\"\n";
    // The rows are reported once; a value that is not an address may be informative.
    warns!(project.sites(default), &rows, @r#"
    warning: PROJECT/racks.csv: `boot_url`: no script uses this address, so no loader goes there
    hint: name a script that does, as in `script = "url.ipxe"`, in the table of the sites or in `[default]`
    "#);
    let site = "[site.a]\nvars = { url = \"http://192.0.2.1/\", asset = \"1\" }\n";
    warns!(project.sites(&format!("{default}{site}")), plan(&project), @r#"
    warning: embed-scripts/sites.toml:5: `site.a.vars.url`: no script uses this address, so no loader goes there
    hint: name a script that does, as in `script = "url.ipxe"`, in the table of the sites or in `[default]`
    "#);
    let vars = "vars = { boot_url = \"http://192.0.2.1/\" }\n";
    warns!(project.sites(&format!("{default}{vars}")), plan(&project), @r#"
    warning: embed-scripts/sites.toml:4: `default.vars.boot_url`: no script uses this address, so no loader goes there
    hint: name a script that does, as in `script = "url.ipxe"`, in the table of the sites or in `[default]`
    "#);
    // A script uses the variable: that of another site, or within a condition; and an empty cell sets nothing.
    let using = "[site.b]\nscript = \"url.ipxe\"\n";
    let condition = "script = \"maybe.ipxe\"\n";
    let used = format!("{}{vars}", default.replace("boot.ipxe", "url.ipxe"));
    warns!(project.sites(&format!("{default}{vars}{using}")), plan(&project), @"");
    warns!(project.sites(&format!("{default}{site}{condition}")), plan(&project), @"");
    warns!(project.sites(&used), &rows, @"");
    project.write("racks.csv", "name,boot_url,asset\na,,A-1\n");
    warns!(project.sites(default), &rows, @"");
}

fn a_script_that_is_too_long_gets_a_larger_slot_when_asked() {
    let project = with_csv("name,boot_url,pad\na,${x},\nb,${x},_\n");
    let long = |times| format!("#!ipxe\nchain {{{{ boot_url }}}}\n# {}{{{{ pad }}}}\n", "x".repeat(times));
    project.write("embed-scripts/url.ipxe", &long(4096 - 21));
    project.sites("[default]\nloaders = [\"ipxe.efi\"]\nscript = \"url.ipxe\"\nvars = { boot_url = \"${x}\", pad = \"\" }\n[inventory.racks]\nfrom = \"racks.csv\"\n");
    let sizes = |options: &Options| {
        let slot = |site: &Site| site.slot.bytes();
        read(&project, options).iter().map(slot).collect::<Vec<_>>()
    };
    let relink = Options { relink: true, ..Options::default() };
    shows!(project, plan(&project), @"
    exit code 3, stderr:
    error: embed-scripts/url.ipxe:3: is 4097 bytes, 1 more than the slot of 4096, for the site `b` at embed-scripts/racks.csv:3
      hint: set `slot = 8192`
      hint: or link loaders with a slot that is large enough with `--relink`
    ");
    assert_eq!(sizes(&relink), [4096, 4096, 8192]);
    project.build(&["--plan", "--relink"]).success();
    // The longest script determines the slot size to set.
    shows!(project.write("embed-scripts/url.ipxe", &long(4096 - 20)), plan(&project), @"
    exit code 3, stderr:
    error: embed-scripts/url.ipxe:3: is 4098 bytes, 2 more than the slot of 4096, for the site `b` at embed-scripts/racks.csv:3 and 2 others
      hint: set `slot = 8192`
      hint: or link loaders with a slot that is large enough with `--relink`
    ");
    let sites = String::from_utf8(project.read("embed-scripts/sites.toml")).unwrap();
    project.sites(&sites.replace("[inventory", "slot = 8192\n[inventory"));
    assert_eq!(sizes(&Options::default()), [8192; 3]);
    let longest = long(4096).replace("\n# ", &format!("\n{}# ", "#\n".repeat(32_768)));
    project.write("embed-scripts/url.ipxe", &longest);
    shows!(project, project.build_arguments(&["--plan", "--relink"]), @r"
    exit code 3, stderr:
    error: embed-scripts/url.ipxe:32771: is 69654 bytes, 4118 more than the largest slot of 65536, for the site `b` at embed-scripts/racks.csv:3 and 2 others
      hint: shorten it: put the long part on a web server and `chain` to it
    ");
}

fn a_hundred_thousand_rows_are_read_whole_and_share_what_they_have_in_common() {
    let mut csv = "name,boot_url\n".to_owned();
    for number in (0..100_000).rev() {
        writeln!(csv, "rack-{number},http://192.0.2.1/{number}").unwrap();
    }
    let project = with_csv(&csv);
    let sites = read(&project, &Options::default()).sites;
    assert_eq!(sites.len(), 100_000);
    let paths: Vec<String> = sites.iter().map(|site| format!("{}/", site.name.as_deref().unwrap())).collect();
    assert!(paths.is_sorted());
    for site in sites.iter().step_by(997) {
        let name = site.name.as_deref().unwrap();
        let number = name.strip_prefix("rack-").unwrap();
        assert_eq!(site.script().text(), format!("#!ipxe\nchain http://192.0.2.1/{number} # {name}\n"));
        assert_eq!((site.slot, site.slot_sha256), (SlotSize::DEFAULT, site.script().slot().digest()));
        assert!(Arc::ptr_eq(&site.loaders, &sites[0].loaders) && Arc::ptr_eq(&site.config, &sites[0].config));
    }
}
