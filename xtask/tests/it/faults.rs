//! Bad input, missing tools and failing builds: the exact message, the exit code, and an unchanged tree.

use netboot_fixtures::harness::xtask;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use camino::Utf8Path;
use netboot_fixtures::project::{CliOutput, Project};
use netboot_fixtures::{says, shows, skip, warns};

netboot_fixtures::tests! {
    each_invalid_file_of_choices_gets_all_its_findings,
    a_private_key_beside_a_certificate_is_refused_with_its_line,
    a_trusted_certificate_that_has_ended_is_warned_of,
    a_private_key_in_the_place_of_a_script_is_not_shown,
    what_boots_in_part_of_the_loaders_only_is_warned_of,
    a_secret_is_warned_of_where_it_is_written,
    a_compiler_that_is_too_old_is_refused,
    a_cache_that_others_can_write_to_is_named,
    the_next_step_is_about_the_tree_that_was_built,
    a_build_that_fails_says_why_and_where_to_look,
    a_loader_that_is_none_does_not_get_into_a_tree,
    a_header_that_ipxe_does_not_read_is_refused,
    offline_and_empty_handed,
    something_else_in_the_trees_place_is_left_alone,
    a_cache_where_make_cannot_work_is_refused,
    a_read_only_output_folder_is_named,
    a_full_disk_leaves_the_old_tree,
    a_warning_tells_what_a_bios_loader_lacks,
    a_warning_tells_what_the_pinned_ipxe_lacks,
    arguments_cannot_forge_messages,
    variables_and_folders_cannot_forge_messages,
    names_of_files_cannot_forge_messages,
    a_place_that_cannot_be_is_said_before_the_work,
    what_standard_output_does_not_take_is_an_error,
    ; slow:
    a_cache_that_cannot_be_written_is_named_and_no_tool_is_blamed,
    a_file_in_the_place_of_the_cache_or_of_a_part_of_it_is_named,
}

/// Returns a project with a published tree.
fn published() -> Project {
    let project = Project::new();
    project.build(&[]).success();
    project
}

fn each_invalid_file_of_choices_gets_all_its_findings() {
    let project = published();
    project.write("embed-scripts/bad.ipxe", "#!ipxe\nwget x\ngoto nowhere\nchain {{ url }}\n");
    project.write("embed-scripts/bom.ipxe", "\u{feff}#!ipxe\n");
    project.write("embed-scripts/long.ipxe", &format!("#!ipxe\n#{}\n", "x".repeat(4096)));
    let pem = include_str!("../../../fixtures/ca.pem");
    project.write("embed-scripts/two.pem", &pem.repeat(2));
    project.write("embed-scripts/broken.pem", &pem.replace("MIIB", "!"));
    project.write("embed-scripts/empty.cfg", "");
    project
        .write("embed-scripts/values.ipxe", "#!ipxe\necho {{ message }}\nchain --autofree {{ boot_url }} {{ args }}\n");
    project.write(
        "embed-scripts/addresses.ipxe",
        "#!ipxe\nkernel htp://a/k root=htp://b\ninitrd http://a:0/i\nchain iscsi:a\n",
    );
    let sheet = "name;boot_url;args\na;http://192.0.2.1/a\u{a0};\n;;\nb;http://192.0.2.1/b c;x\nc;192.0.2.1/c;\"x ||\nchain http://198.51.100.1/ ||\n#\"\n\
                 d;htp://192.0.2.1/d;--x\ne;--replace;x\nf;http://192.0.2.1/é;\n";
    project.write("embed-scripts/values.csv", sheet);
    let before = project.snapshot();
    let folder = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/invalid");
    let mut cases = 0;
    for (file, _) in netboot_loaders::base::fs::walk(&folder).unwrap() {
        if file.extension() != Some("toml") {
            continue;
        }
        cases += 1;
        project.sites(&std::fs::read_to_string(folder.join(&file)).unwrap());
        shows!(project, project.build_arguments(&[]), format!("invalid-{}", file.file_stem().unwrap()));
        assert_eq!(project.snapshot(), before, "{file}");
    }
    assert!(cases >= 5);
}

fn a_trusted_certificate_that_has_ended_is_warned_of() {
    let project = published();
    let mut parameters = rcgen::CertificateParams::new([]).unwrap();
    parameters.not_after = rcgen::date_time_ymd(2020, 2, 29);
    let certificate = parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
    project.write("embed-scripts/ca.pem", &certificate.pem());
    project.sites("[default]\nloaders = [\"ipxe.efi\"]\nscript = \"boot.ipxe\"\ntrust = [\"ca.pem\"]\n");
    warns!(project, &project.build_arguments(&["--plan"]), @r"
    warning: the certificate in `ca.pem` was valid until 2020-02-29, and iPXE trusts none that has ended
    hint: name the one that has taken its place in `trust`
    ");
}

fn a_private_key_beside_a_certificate_is_refused_with_its_line() {
    let project = published();
    let pem = include_str!("../../../fixtures/ca.pem");
    let key = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMC4C\n-----END ENCRYPTED PRIVATE KEY-----\n";
    project.sites("[default]\nloaders = [\"ipxe.efi\"]\nscript = \"boot.ipxe\"\ntrust = [\"ca.pem\"]\n");
    let plan = project.build_arguments(&["--plan"]);
    project.write("embed-scripts/ca.pem", &format!("Bag Attributes\n{pem}Key Attributes\n{key}"));
    shows!(project, &plan, @r"
    exit code 3, stderr:
    error: embed-scripts/ca.pem:12: has a private key (`ENCRYPTED PRIVATE KEY`), and what is trusted gets published
      hint: keep the key elsewhere, and the certificate alone here: `openssl x509` writes it
    ");
    let labelled = "-----BEGIN CERTIFICATE-----\nMC4CAQAwBQYDK2VwBCIEIMnbNuxsy7xbufBDhw1NJO3psX5nvhyYnYqiLKulQWQN\n-----END CERTIFICATE-----\n";
    shows!(project.write("embed-scripts/ca.pem", labelled), &plan, @r"
    exit code 3, stderr:
    error: embed-scripts/ca.pem:1: has a private key (`CERTIFICATE`), and what is trusted gets published
      hint: keep the key elsewhere, and the certificate alone here: `openssl x509` writes it
    ");
    // A private key does not enter a bundle either, whether it is trusted or not.
    project.sites("[default]\nloaders = [\"ipxe.efi\"]\nscript = \"boot.ipxe\"\n");
    let (out, ipxe) = (project.path("sources.tar.gz"), project.path("ipxe"));
    shows!(project, ["bundle-sources", "--offline", "--ipxe-url", ipxe.as_str(), "--out", out.as_str()], @"
    exit code 3, stderr:
    error: `embed-scripts/ca.pem`:2 has a private key, and source bundles are published
    hint: move the key out of the folders of the pins and the configuration
    ");
    assert!(!out.exists());
}

fn a_private_key_in_the_place_of_a_script_is_not_shown() {
    let project = Project::new();
    let key = "MC4CAQAwBQYDK2VwBCIEIJ9QMZsZ0Q3v6tq0vYwqYqzX8mB4u8dRrVQ0l3p7tE2a";
    project
        .write("embed-scripts/boot.ipxe", &format!("-----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----\n"));
    let error = project.build(&[]).error(3);
    assert!(error.contains("has a private key") && !error.contains(&key[..20]), "{error}");
}

fn what_boots_in_part_of_the_loaders_only_is_warned_of() {
    let project = Project::new();
    project.write(
        "embed-scripts/boot.ipxe",
        "#!ipxe\ndhcp net0&& goto a || shell\n:a\nchain http://boot:s3cret@192.0.2.1/\n",
    );
    let sites = "[default]\nloaders = [\"ipxe.pxe\", \"ipxe.efi\"]\nscript = \"boot.ipxe\"\nconfig = \"c\"\n\
                 [boot.a]\nkind = \"linux\"\nkernel = \"https://192.0.2.1/k\"\ninitrd = [\"http://192.0.2.1/i\"]\narguments = \"inst.rootpw=x password=y\"\n\
                 [boot.b]\nkind = \"matchbox\"\nserver = \"https://192.0.2.1:8443\"\n";
    project.sites(sites);
    project.config("c", "");
    let plan = project.build_arguments(&["--plan"]);
    warns!(project, &plan, @r"
    warning: embed-scripts/boot.ipxe:2: `net0&&` is one word to iPXE, which takes `&&` for an operator only between spaces
    hint: write spaces around `&&`
    warning: embed-scripts/boot.ipxe:4: an address with a password gets published: anybody who can fetch the file can read it
    hint: remove it, and let the server tell machines apart by their addresses or certificates
    warning: embed-scripts/sites.toml:7: `boot.a.kernel`: `https://` needs `DOWNLOAD_PROTO_HTTPS`, which a BIOS build does not have on its own: the bios loaders would stop there
    hint: name a configuration that has `#define DOWNLOAD_PROTO_HTTPS` with `config`, or leave those loaders out
    warning: embed-scripts/sites.toml:12: `boot.b.server`: `https://` needs `DOWNLOAD_PROTO_HTTPS`, which a BIOS build does not have on its own: the bios loaders would stop there
    hint: name a configuration that has `#define DOWNLOAD_PROTO_HTTPS` with `config`, or leave those loaders out
    warning: embed-scripts/sites.toml:9: `boot.a.arguments`: a password gets published: anybody who can fetch the script can read it
    hint: remove it, and let the server tell machines apart by their addresses or certificates
    ");
    warns!(project.config("c", "#define DOWNLOAD_PROTO_HTTPS\n"), &plan, @r"
    warning: embed-scripts/boot.ipxe:2: `net0&&` is one word to iPXE, which takes `&&` for an operator only between spaces
    hint: write spaces around `&&`
    warning: embed-scripts/boot.ipxe:4: an address with a password gets published: anybody who can fetch the file can read it
    hint: remove it, and let the server tell machines apart by their addresses or certificates
    warning: embed-scripts/sites.toml:9: `boot.a.arguments`: a password gets published: anybody who can fetch the script can read it
    hint: remove it, and let the server tell machines apart by their addresses or certificates
    ");
    let known = project.run(&plan).stderr;
    project.config("c", "").sites(&sites.replace("\"ipxe.pxe\", ", ""));
    assert_eq!(project.run(&plan).warned().stderr, known);
}

fn a_secret_is_warned_of_where_it_is_written() {
    let project = Project::new();
    project.write("embed-scripts/url.ipxe", "#!ipxe\necho {{ site }}\nchain {{ boot_url }}\n");
    project.write("embed-scripts/login.ipxe", "#!ipxe\nchain http://boot:{{ word }}@{{ server }}/x\n");
    project.write("embed-scripts/own.ipxe", "#!ipxe\nchain http://boot:s3cret@{{ server }}/x\n");
    project.write(
        "embed-scripts/pw.csv",
        "name,boot_url\na,http://192.0.2.1/a\nb,http://u:s3cret@192.0.2.1/b\nc,http://192.0.2.1/c?token=s3cret\n",
    );
    project.sites(
        "[default]\nloaders = [\"ipxe.efi\"]\nscript = \"url.ipxe\"\nvars = { boot_url = \"http://u:s3cret@192.0.2.1/d\" }\n\
         [inventory.pw]\nfrom = \"pw.csv\"\nloaders = [\"ipxe.efi\"]\n\
         [site.e]\nloaders = [\"ipxe.efi\"]\nscript = \"login.ipxe\"\nvars = { word = \"s3cret\", server = \"192.0.2.1\" }\n\
         [site.f]\nloaders = [\"ipxe.efi\"]\nscript = \"own.ipxe\"\nvars = { server = \"192.0.2.1\" }\n\
         [boot.x]\nkind = \"linux\"\nkernel = \"http://192.0.2.1/k?token=s3cret\"\ninitrd = [\"http://192.0.2.1/i?token=s3cret\"]\n\
         arguments = \"inst.rootpw=x password=s3cret\"\n",
    );
    let plan = project.build_arguments(&["--plan"]);
    assert!(!project.run(&plan).stderr.contains("s3cret"));
    warns!(project, &plan, @"
    warning: embed-scripts/own.ipxe:2: an address with a password gets published: anybody who can fetch the file can read it
    hint: remove it, and let the server tell machines apart by their addresses or certificates
    warning: embed-scripts/pw.csv:3: `boot_url`: an address with a password gets published: anybody who can fetch the script can read it
    hint: remove it, and let the server tell machines apart by their addresses or certificates
    warning: embed-scripts/pw.csv:4: `boot_url`: an address with a token or a signature gets published: anybody who can fetch the script can read it
    hint: remove it, and let the server tell machines apart by their addresses or certificates
    warning: embed-scripts/sites.toml:4: `default.vars.boot_url`: an address with a password gets published: anybody who can fetch the script can read it
    hint: remove it, and let the server tell machines apart by their addresses or certificates
    warning: embed-scripts/sites.toml:11: `site.e.vars.word`: an address with a password gets published: anybody who can fetch the script can read it
    hint: remove it, and let the server tell machines apart by their addresses or certificates
    warning: embed-scripts/sites.toml:18: `boot.x.kernel`: an address with a token or a signature gets published: anybody who can fetch the script can read it
    hint: remove it, and let the server tell machines apart by their addresses or certificates
    warning: embed-scripts/sites.toml:19: `boot.x.initrd`: an address with a token or a signature gets published: anybody who can fetch the script can read it
    hint: remove it, and let the server tell machines apart by their addresses or certificates
    warning: embed-scripts/sites.toml:20: `boot.x.arguments`: a password gets published: anybody who can fetch the script can read it
    hint: remove it, and let the server tell machines apart by their addresses or certificates
    ");
}

fn a_cache_that_others_can_write_to_is_named() {
    let project = Project::new();
    let cache = project.path("cache");
    std::fs::create_dir_all(&cache).unwrap();
    std::fs::set_permissions(&cache, std::fs::Permissions::from_mode(0o777)).unwrap();
    let ran = project.build(&[]).warned();
    let wanted = format!("warning: every user can write to the cache `{cache}`, and so decides what is built\n");
    assert!(ran.stderr.contains(&wanted), "{}", ran.stderr);
    std::fs::set_permissions(&cache, std::fs::Permissions::from_mode(0o755)).unwrap();
    project.build(&[]).success();
    // Only root can give a folder away.
    if std::os::unix::fs::chown(&cache, Some(65_534), None).is_ok() {
        let ran = project.build(&[]).warned();
        assert!(ran.stderr.contains("warning: the user number 65534 can write to the cache `"), "{}", ran.stderr);
    }
}

fn the_next_step_is_about_the_tree_that_was_built() {
    let project = Project::new();
    let out = project.path("my trees/a");
    let ran = project.build(&["--out", out.as_str()]).success();
    assert!(ran.stdout.contains(&format!(" boot-test '{out}'`, then `")), "{}", ran.stdout);
    assert!(ran.stdout.contains(&format!(" deploy --tree '{out}' TARGET`\n")), "{}", ran.stdout);
}

fn a_compiler_that_is_too_old_is_refused() {
    let project = Project::new();
    let tools = project.path("tools");
    std::fs::create_dir(&tools).unwrap();
    let gcc = "#!/bin/sh\ncase $1 in\n--version) echo 'gcc (Old) 7.5.0'; echo 'Copyright Free Software Foundation' ;;\n\
               -dumpversion) echo 7.5.0 ;;\n*) exit 1 ;;\nesac\n";
    std::fs::write(tools.join("gcc"), gcc).unwrap();
    std::fs::set_permissions(tools.join("gcc"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{tools}:/usr/bin:/bin");
    let error = CliOutput::from(project.command(["doctor"]).env("PATH", path).output().unwrap());
    let error = error.printed("found gcc (Old) 7.5.0, wanted GCC 8 or later for x86_64");
    assert!(error.failure(4).starts_with("error: found no usable `gcc`, "));
}

fn a_build_that_fails_says_why_and_where_to_look() {
    let project = published();
    let sites = "[default]\nloaders = [\"ipxe.pxe\"]\nscript = \"boot.ipxe\"\nconfig = \"broken\"\n";
    project.sites(sites);
    project.config("broken", "#error stop\n");
    let error = project.build(&[]).error(7);
    let (first, rest) = error.split_once('\n').unwrap();
    assert_eq!(first, "config/local/general.h:1:2: error: #error stop");
    assert!(rest.starts_with("cannot make bin/ipxe.pxe: `make` ended with exit code 2\n  | "), "{error}");
    assert!(
        error.contains("\n  command: cd ") && error.contains(" make -j") && error.contains("EMBED=embedded.ipxe"),
        "{error}"
    );
    let (_, log) = error.split_once("\n  log: ").unwrap();
    assert!(std::fs::read_to_string(log.lines().next().unwrap()).unwrap().contains("#error stop"));
    assert!(
        error.ends_with("\nhint: see the log; a configuration under vendor/ipxe-config or a patch may be the cause\n"),
        "{error}"
    );
    project.run(["verify"]).success();

    project.config("broken", "/* werror */\n");
    let error = project.build(&[]).error(7);
    assert!(
        error.ends_with(
            "\nhint: or ignore warnings of the compiler with `--no-werror`: no byte of the loaders changes\n"
        ),
        "{error}"
    );
    project.build(&["--no-werror"]).success();
}

fn a_loader_that_is_none_does_not_get_into_a_tree() {
    let project = published();
    project.sites("[default]\nloaders = [\"ipxe.efi\"]\nscript = \"boot.ipxe\"\nconfig = \"lie\"\n");
    shows!(project.config("lie", "/* lie */\n"), project.build_arguments(&["--quiet"]), @r"
    exit code 7, stderr:
    error: `bin-x86_64-efi/ipxe.efi` was made, but it is an HTML or XML page, wanted an EFI application for x86-64
    hint: see PROJECT/cache/trees/efi-x64-lie/make.log; if a compiler launcher is used, build without it: it may have served another script's object
    ");
    assert!(project.path("cache/trees/efi-x64-lie/make.log").exists());
    project.run(["verify"]).success();
}

fn a_header_that_ipxe_does_not_read_is_refused() {
    let project = published();
    project.sites("[default]\nloaders = [\"ipxe.efi\"]\nscript = \"boot.ipxe\"\nconfig = \"c\"\n");
    shows!(project.write("vendor/ipxe-config/c/genral.h", ""), project.build_arguments(&["--quiet"]), @r"
    exit code 3, stderr:
    error: the configuration `c` has the header `genral.h`, and iPXE has no such header in src/config
    hint: put the settings into the header that has them in iPXE, as in `general.h`
    ");
    project.run(["verify"]).success();
}

fn offline_and_empty_handed() {
    let project = Project::new();
    shows!(project, ["build-loaders", "--offline"], @"
    exit code 5, stderr:
    error: `ldlinux.c32`, `ldlinux.e64`, `lpxelinux.0`, `syslinux.efi` of syslinux 6.03 are not in the cache `PROJECT/cache`, and this run is offline
    hint: run `cargo xtask fetch` where there is a network
    hint: or give the release archive with `--syslinux-archive`
    hint: or give a source bundle with `--sources-from`
    help: cargo xtask help closed-network
    ");
    let archive = project.path("syslinux.zip");
    shows!(project, ["build-loaders", "--offline", "--syslinux-archive", archive.as_str()], @"
    exit code 5, stderr:
    error: iPXE's pinned commit SHA1 is not in the cache `PROJECT/cache/ipxe.git`, and this run is offline
    hint: run `cargo xtask fetch` where there is a network
    hint: or name a mirror or a local clone with `--ipxe-url`
    hint: or give a source bundle with `--sources-from`
    help: cargo xtask help closed-network
    ");
    let json = project.run(["--message-format", "json", "build-loaders", "--offline"]);
    assert!(json.stdout.contains("\"page\":\"closed-network\""), "{json}");
    assert!(!project.tree().exists());
}

fn something_else_in_the_trees_place_is_left_alone() {
    let project = Project::new();
    shows!(project.write("dist/tftp/precious", "photographs"), project.build_arguments(&[]), @"
    exit code 1, stderr:
    error: `PROJECT/dist/tftp` is not a tree of this tool: it has no manifest
    hint: choose another folder with `--out`
    hint: or move that one away
    ");
    assert_eq!(project.read("dist/tftp/precious"), b"photographs");
}

fn a_cache_where_make_cannot_work_is_refused() {
    let project = Project::new();
    let cache = project.path("a cache");
    shows!(project, project.build_arguments(&["--cache-dir", cache.as_str()]), @"
    exit code 1, stderr:
    error: cannot build in `PROJECT/a cache`: iPXE's makefile cannot handle spaces and special characters in paths
    hint: choose another cache folder with `--cache-dir`
    ");
}

/// Runs the build after `prepare`, a shell script with its own mount namespace, has changed the file systems.
fn in_namespace(project: &Project, prepare: &str) -> Result<CliOutput, String> {
    skip::mount_namespaces()?;
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-ec", &format!("{prepare}; exec \"$@\""), "sh", xtask()]);
    command.args(["--project", project.root.as_str(), "--cache-dir", project.path("cache").as_str()]);
    Ok(CliOutput::from(command.args(project.build_arguments(&[])).output().unwrap()))
}

fn a_read_only_output_folder_is_named() -> Result<(), String> {
    let project = published();
    project.write("embed-scripts/boot.ipxe", "#!ipxe\nshell\n");
    let dist = project.path("dist");
    let ran = in_namespace(&project, &format!("mount --bind {dist} {dist}; mount -o remount,bind,ro {dist}"))?;
    says!(project, ran, @"
    exit code 1, stderr:
    error: cannot open `PROJECT/dist/.tftp.lock`
      caused by: Read-only file system (os error 30)
    hint: make `PROJECT/dist` writable
    hint: or choose another folder with `--out`
    ");
    project.run(["verify"]).success();
    Ok(())
}

fn a_cache_that_cannot_be_written_is_named_and_no_tool_is_blamed() -> Result<(), String> {
    let project = Project::cold();
    let cache = project.path("cache");
    std::fs::create_dir(&cache).unwrap();
    let mount = |options: &str| in_namespace(&project, &format!("mount -t tmpfs -o mode=755,{options}"));
    says!(project, mount(&format!("ro none {cache}"))?, @r#"
    exit code 1, stderr:
    error: cannot create a folder in `PROJECT/cache`
      caused by: Read-only file system (os error 30) at path "PROJECT/cache/probe-RANDOM"
    hint: make `PROJECT/cache` writable
    hint: or choose another cache folder with `--cache-dir`
    "#);
    let full = format!("size=16k none {cache}; cat /dev/zero >{cache}/filler 2>/dev/null || true");
    says!(project, mount(&full)?, @"
    exit code 1, stderr:
    error: cannot write `PROJECT/cache/probe-RANDOM/probe.c`
      caused by: No space left on device (os error 28)
    hint: free space on the file system of `PROJECT/cache`
    hint: or choose another cache folder with `--cache-dir`
    ");
    // Enough space for the program's source text, but not for the program.
    says!(project, mount(&format!("size=16k none {cache}"))?, @"
    exit code 1, stderr:
    error: cannot write `PROJECT/cache/probe-RANDOM/room`
      caused by: No space left on device (os error 28)
    hint: free space on the file system of `PROJECT/cache`
    hint: or choose another cache folder with `--cache-dir`
    ");
    says!(project, mount(&format!("noexec none {cache}"))?, @"
    exit code 1, stderr:
    error: the cache `PROJECT/cache` is on a file system that runs no programs (mounted `noexec`), and builds run their own there
    hint: choose another cache folder with `--cache-dir`
    hint: or mount that file system without `noexec`
    ");
    // The compiler's temporary files are in the cache, too: a read-only system folder does not matter.
    let root = &project.root;
    let elsewhere = format!(
        "mount --bind /tmp /tmp; mount -o remount,bind,ro /tmp; mount --bind {root} {root}; mount -o remount,bind,rw {root}"
    );
    let ran = in_namespace(&project, &elsewhere)?;
    ran.success();
    Ok(())
}

fn a_file_in_the_place_of_the_cache_or_of_a_part_of_it_is_named() {
    let project = Project::cold();
    let mut all = String::new();
    for part in ["cache/locks", "cache/blobs", "cache/toolchains", "cache/trees", "cache/bases", "cache"] {
        let _ = std::fs::remove_dir_all(project.path("cache"));
        all += &project.write(part, "a file").build(&[]).to_string();
        assert_eq!(project.read(part), b"a file");
    }
    says!(project, all, @"
    exit code 1, stderr:
    error: cannot create the folder `PROJECT/cache/locks`
      caused by: File exists (os error 17)
    hint: move away the file that stands where a folder is wanted, or choose another folder
    exit code 1, stderr:
    error: cannot read `PROJECT/cache/blobs/SHA256`
      caused by: Not a directory (os error 20)
    hint: move away the file that stands where a folder is wanted, or choose another folder
    exit code 1, stderr:
    error: cannot create the folder `PROJECT/cache/toolchains`
      caused by: File exists (os error 17)
    hint: move away the file that stands where a folder is wanted, or choose another folder
    exit code 1, stderr:
    error: cannot read `PROJECT/cache/trees/bios-default/seal.json`
      caused by: Not a directory (os error 20)
    hint: move away the file that stands where a folder is wanted, or choose another folder
    exit code 1, stderr:
    error: cannot read `PROJECT/cache/bases/SHA256/record.json`
      caused by: Not a directory (os error 20)
    hint: move away the file that stands where a folder is wanted, or choose another folder
    exit code 1, stderr:
    error: cannot create the folder `PROJECT/cache`
      caused by: File exists (os error 17)
    hint: move away the file that stands where a folder is wanted, or choose another folder
    ");
}

fn a_full_disk_leaves_the_old_tree() -> Result<(), String> {
    let project = published();
    project.write("embed-scripts/boot.ipxe", "#!ipxe\nshell\n");
    let cache = project.path("cache");
    // The cache on a disk that is too small for a build.
    let ran = in_namespace(&project, &format!("mount -t tmpfs -o size=64k none {cache}"))?;
    let error = ran.error(1);
    assert!(error.contains("No space left on device"), "{error}");
    assert!(error.contains("hint: free space on the file system of `"), "{error}");
    project.run(["verify"]).success();
    // The tree on a disk with space for the old one but not for a second one.
    let dist = project.path("dist");
    let keep = project.path("keep");
    let prepare = format!("cp -r {dist}/tftp {keep}; mount -t tmpfs -o size=64k none {dist}; cp -r {keep} {dist}/tftp");
    let ran = in_namespace(&project, &prepare)?;
    let error = ran.error(1);
    assert!(error.starts_with(&format!("cannot write `{dist}/.tftp.")), "{error}");
    assert!(error.contains("\nhint: free space on the file system of `"), "{error}");
    project.build(&[]).success();
    Ok(())
}

fn a_warning_tells_what_a_bios_loader_lacks() {
    let project = Project::new();
    project.write("embed-scripts/boot.ipxe", "#!ipxe\nconsole --x 1024\nping host\n");
    let ran = project.build(&[]).warned();
    assert!(
        ran.stderr.contains(
            "warning: embed-scripts/boot.ipxe:2: `console` needs `CONSOLE_CMD`, which a BIOS build does not have on its own: \
             the bios loaders would stop there\nhint: name a configuration that has `#define CONSOLE_CMD` with `config`, or \
             leave those loaders out\n"
        ),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr.contains("3: `ping` needs `PING_CMD`, which no build has on its own: the efi-x64 loaders"),
        "{}",
        ran.stderr
    );
    project.config("c", "#define CONSOLE_CMD\n#define PING_CMD\n");
    project.sites("[default]\nloaders = [\"ipxe.pxe\", \"ipxe.efi\"]\nscript = \"boot.ipxe\"\nconfig = \"c\"\n");
    assert!(!project.build(&[]).success().stderr.contains("warning"));
}

fn a_warning_tells_what_the_pinned_ipxe_lacks() {
    let project = Project::new();
    let pins = String::from_utf8(project.read("vendor/pins.toml")).unwrap();
    let pin = |version: &str| {
        let text = pins.replacen("version = \"0.0.1\"", &format!("version = \"{version}\""), 1);
        assert_ne!(text, pins);
        project.write("vendor/pins.toml", &text);
    };
    let plan = project.build_arguments(&["--plan"]);
    project.write("embed-scripts/robust.ipxe", include_str!("../../../embed-scripts/robust.ipxe"));
    project.write("embed-scripts/boot.ipxe", "#!ipxe\nusbscan x || md5sum ${y}\n");
    project.sites(
        "[default]\nloaders = [\"ipxe.pxe\", \"ipxe.efi\"]\nscript = \"robust.ipxe\"\n\
         [site.a]\n[site.b]\nscript = \"boot.ipxe\"\n",
    );
    pin("1.21.1");
    // `usbscan` also needs a build option, which is not mentioned.
    warns!(project, &plan, @r"
    warning: embed-scripts/boot.ipxe:2: `md5sum` needs `DIGEST_CMD`, which a BIOS build does not have on its own: the bios loaders would stop there
    hint: name a configuration that has `#define DIGEST_CMD` with `config`, or leave those loaders out
    warning: embed-scripts/boot.ipxe:2: `usbscan` is new in iPXE 2.0.0, and the pin is 1.21.1: the command would fail
    hint: pin iPXE 2.0.0 or a later version, or name a script without `usbscan`
    warning: embed-scripts/robust.ipxe:36: `iflinkwait` is new in iPXE 2.0.0, and the pin is 1.21.1: the command would fail
    hint: pin iPXE 2.0.0 or a later version, or name a script without `iflinkwait`
    ");
    pin("2.0.0");
    warns!(project, &plan, @r"
    warning: embed-scripts/boot.ipxe:2: `md5sum` needs `DIGEST_CMD`, which a BIOS build does not have on its own: the bios loaders would stop there
    hint: name a configuration that has `#define DIGEST_CMD` with `config`, or leave those loaders out
    warning: embed-scripts/boot.ipxe:2: `usbscan` needs `USB_CMD`, which a BIOS build does not have on its own: the bios loaders would stop there
    hint: name a configuration that has `#define USB_CMD` with `config`, or leave those loaders out
    ");
    project.write("embed-scripts/boot.ipxe", "#!ipxe\nimgset x y\nwgte\n");
    shows!(project, &plan, @r"
    exit code 3, stderr:
    error: embed-scripts/boot.ipxe:2: `imgset` is not a command of iPXE
      hint: see https://ipxe.org/cmd for the commands
    embed-scripts/boot.ipxe:3: `wgte` is not a command of iPXE
      hint: see https://ipxe.org/cmd for the commands
    ");
    pin("2.0.0+");
    warns!(project, &plan, @r"
    warning: embed-scripts/boot.ipxe:2: `imgset` is not a command of iPXE 2.0.0, and this tool does not know whether 2.0.0+ has it
    hint: see https://ipxe.org/cmd for the commands
    warning: embed-scripts/boot.ipxe:3: `wgte` is not a command of iPXE 2.0.0, and this tool does not know whether 2.0.0+ has it
    hint: see https://ipxe.org/cmd for the commands
    ");
}

/// Checks that no output line of a run is forged, and that no character controls the terminal.
#[track_caller]
fn honest(ran: &CliOutput) {
    let text = format!("{}{}", ran.stdout, ran.stderr);
    let harmful =
        |character: char| !matches!(character, '\n' | '\t') && netboot_loaders::printable::is_harmful(character);
    assert!(!text.contains(harmful) && !text.lines().any(|line| line.starts_with("hint: forged")), "{text}");
}

fn arguments_cannot_forge_messages() {
    let project = Project::new();
    for hostile in ["x\nhint: forged", "x\r\u{1b}[2J", "x\u{202e}y", "x\u{feff}", "x\u{85}y"] {
        for arguments in [
            vec!["verify", hostile],
            vec!["inspect", hostile],
            vec!["deploy", hostile],
            vec!["deploy", "sftp://nas/x", "--ssh", hostile],
            vec!["build-loaders", "--out", hostile],
            vec!["build-loaders", "--launcher", hostile],
            vec!["build-loaders", "--syslinux-archive", hostile],
            vec!["build-loaders", "--sites", hostile],
            vec!["reproduce", "--against", hostile],
            vec!["recipe", "nginx", "--network", hostile],
            vec!["boot-test", "--site", hostile],
            vec!["fetch", "--cache-dir", hostile],
            vec!["fetch", "--project", hostile],
            vec![hostile],
        ] {
            let ran = project.run(&arguments);
            honest(&ran);
            let error = ran.error(2);
            assert!(error.starts_with("the argument `x\\") || error.starts_with("the argument `x"), "{error}");
            assert!(error.ends_with("\nhint: rename what has that name\n") && error.lines().count() == 2, "{error}");
        }
    }
    let secret = project.run(["fetch", "--ipxe-url=https://me:secret@host/\n"]).error(2);
    assert!(secret.starts_with("the argument `…@host/\\n` has `\\n`, wanted one line"), "{secret}");
    // Words and emoji written with joiners are ordinary names.
    let error = project.run(["verify", "پروژه\u{200c}ها"]).error(8);
    assert!(error.starts_with("there is no tree `پروژه\\u{200c}ها`\n"), "{error}");
    for arguments in [&["x\u{200c}y"][..], &["verify", "--x\u{200d}y"], &["build-loaders", "--jobs", "x\u{200d}"]] {
        honest(&project.run(arguments));
        project.run(arguments).error(2);
    }
}

fn variables_and_folders_cannot_forge_messages() {
    let project = Project::new();
    let hostile = project.path("x\nhint: forged");
    std::fs::create_dir(&hostile).unwrap();
    let run = |set: &dyn Fn(&mut Command)| {
        let mut command = Command::new(xtask());
        command.args(["--project", project.root.as_str(), "doctor", "--for", "deploy"]);
        command.env_remove("CARGO_MANIFEST_DIR");
        set(&mut command);
        let ran = CliOutput::from(command.output().unwrap());
        honest(&ran);
        ran.error(3)
    };
    for name in ["NETBOOT_LOADERS_CACHE_DIR", "XDG_CACHE_HOME", "HOME", "TMPDIR", "PATH", "https_proxy", "no_proxy"] {
        let error = run(&|command| {
            command.env(name, &hostile);
        });
        assert!(error.starts_with(&format!("the variable `{name}` has `\\n`, wanted one line")), "{error}");
    }
    let error = run(&|command| {
        command.current_dir(&hostile);
    });
    assert!(error.starts_with(&format!("the current folder `{}/x\\nhint: forged` has `\\n`", project.root)), "{error}");
    symlink(&hostile, project.path("link")).unwrap();
    let error = run(&|command| {
        command.args(["--cache-dir", project.path("link").as_str()]);
    });
    assert!(error.starts_with(&format!("the cache `{}/x\\nhint: forged` has `\\n`", project.root)), "{error}");
}

fn names_of_files_cannot_forge_messages() {
    let project = published();
    let hostile = "x\nhint: forged\u{202e}";
    let shown = "x\\nhint: forged\\u{202e}";
    let pins = String::from_utf8(project.read("vendor/pins.toml")).unwrap();
    let build = |project: &Project, more: &[&str]| {
        let ran = project.build(more);
        honest(&ran);
        assert_ne!(ran.code, 0);
        ran.stderr
    };
    let told = |error: &str| assert!(error.contains(shown), "{error}");

    let patch = format!("vendor/patches/{hostile}.patch");
    project.write(&patch, "");
    let plan = project.build(&["--plan"]).success();
    honest(&plan);
    told(&plan.stdout);
    told(&build(&project, &[]));
    std::fs::remove_file(project.path(&patch)).unwrap();

    let sites = String::from_utf8(project.read("embed-scripts/sites.toml")).unwrap();
    project.sites(&sites.replace("script =", "config = \"c\"\nscript ="));
    project.write(&format!("vendor/ipxe-config/c/{hostile}.h"), "");
    told(&build(&project, &[]));
    project.sites(&sites);

    let key = format!("embed-scripts/{hostile}");
    project.write(&key, "-----BEGIN PRIVATE KEY-----\n");
    let ran = project.run(["bundle-sources", "--offline"]);
    honest(&ran);
    told(&ran.error(3));
    std::fs::remove_file(project.path(&key)).unwrap();

    project.write(&format!("{hostile}/{hostile}"), "");
    symlink(project.path(hostile), project.path("link")).unwrap();
    told(&build(&project, &["--out", project.path("link").as_str()]));

    project.write(&format!("dist/tftp/{hostile}"), "");
    for arguments in
        [&["verify"][..], &["boot-test", "--list"], &["deploy", "srv"], &["reproduce", "--against", "dist/tftp"]]
    {
        let ran = CliOutput::from(project.command(arguments).current_dir(&project.root).output().unwrap());
        honest(&ran);
        told(&ran.error(8));
    }
    told(&build(&project, &[]));
    std::fs::remove_file(project.tree().join(hostile)).unwrap();

    project
        .write("vendor/pins.toml", &pins.replace("https://unreachable.invalid", "http://127.0.0.1:1/x\\nhint: forged"));
    for arguments in [&["fetch"][..], &["update", "--dry-run"]] {
        let ran = project.run([arguments, &["--cache-dir", project.path("other").as_str()]].concat());
        honest(&ran);
        assert!(ran.error(3).contains("`ipxe.urls`: has `\\n`, wanted one line "));
    }
}

fn a_place_that_cannot_be_is_said_before_the_work() {
    let project = published();
    let (long, nowhere) = (project.path(&"x".repeat(251)), project.path("link"));
    symlink("nowhere", &nowhere).unwrap();
    let inside = nowhere.join("a/b");
    let leads = format!(
        "`{nowhere}` is a link that leads nowhere, to `nowhere`\nhint: make what it leads to, or remove the link\n"
    );
    let name = |found: usize, most: usize| {
        let name = "x".repeat(found);
        format!("the name `{name}` has {found} bytes, wanted {most} at most\nhint: choose a shorter name\n")
    };
    let error = |arguments: &[&str]| project.run(arguments).error(1);
    for arguments in [
        &["build-loaders", "--offline", "--out"][..],
        &["release", "--dry-run", "--offline", "--out"],
        &["mirror", "flatcar", "--dest"],
        &["boot-test", "--report"],
    ] {
        assert_eq!(error(&[arguments, &[long.as_str()]].concat()), name(251, 241));
        assert_eq!(error(&[arguments, &[nowhere.as_str()]].concat()), leads);
        assert_eq!(error(&[arguments, &[inside.as_str()]].concat()), leads);
    }
    assert_eq!(error(&["deploy", nowhere.as_str()]), leads);
    assert_eq!(error(&["deploy", inside.as_str()]), leads);
    assert_eq!(error(&["deploy", &format!("{long}xxxxx")]), name(256, 255));
    project.run(["deploy", long.as_str()]).success();
    project.build(&["--out", &long.as_str()[..long.as_str().len() - 10]]).success();
    assert!(
        error(&["fetch", "--offline", "--cache-dir", &format!("{long}xxxxx")])
            .contains(&format!("\nhint: choose a shorter one: the name `{}` has 256 bytes", "x".repeat(256)))
    );
}

fn what_standard_output_does_not_take_is_an_error() {
    let project = published();
    let lost = "error: cannot write to standard output\n  caused by: No space left on device (os error 28)\n\
                hint: make room where standard output is written to, and run the command again\n";
    let run = |arguments: &[&str], stdout: std::process::Stdio| {
        let output = project.command(arguments).stdout(stdout).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap().into();
    for arguments in [
        &["verify"][..],
        &["--message-format", "json", "verify"],
        &["--quiet", "verify", "--help"],
        &["--version"],
        &["completions", "bash"],
    ] {
        assert_eq!(run(arguments, full()), (1, lost.to_owned()), "{arguments:?}");
        // A reader that closes the pipe is not an error.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(run(arguments, writer.into()), (0, String::new()), "{arguments:?}");
    }
    assert_eq!(run(&["--quiet", "verify"], full()), (0, String::new()));
    // Another error keeps its exit code and is reported on stderr.
    std::fs::remove_file(project.tree().join("ipxe.efi")).unwrap();
    let (code, stderr) = run(&["--message-format", "json", "verify"], full());
    assert!(code == 8 && stderr.contains("`ipxe.efi` is missing"), "{code} {stderr}");
}
