//! iPXE's official signed set, with a stand-in whose files are signed by keys of these tests: what a tree gets of it,
//! where it may come from, and what is refused.

use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};
use netboot_fixtures::project::{CliOutput, Project};
use netboot_fixtures::{says, shows, skip};
use netboot_loaders::digest::Sha256Digest;
use netboot_loaders::loader::smallest_application::application;
use netboot_loaders::tree::manifest::Manifest;
use serde_json::{Value, json};
use tempfile::TempDir;

netboot_fixtures::tests! {
    each_site_gets_the_set_with_its_own_script,
    the_set_is_taken_from_files_an_archive_or_a_bundle,
    what_is_not_as_pinned_or_not_signed_as_expected_is_refused,
    a_script_that_the_signed_loaders_cannot_run_is_warned_of,
    the_set_can_be_in_the_root_where_nothing_is_confused_with_it,
    what_is_wrong_about_the_set_is_told,
    a_tree_with_the_set_is_released_deployed_and_listed,
    recipes_hand_out_the_shim_where_there_is_no_loader_of_ones_own,
}

/// A set in a folder of its own, with the private keys that signed it.
struct Set(TempDir);

/// Signed by two authorities, as the shim is; signed by one, as the loaders are.
const SHIM: &str = "ipxe-shimx64.efi";
const MEMBERS: [&str; 2] = ["ipxe.efi", "snponly.efi"];

impl Set {
    fn make() -> Result<Self, String> {
        skip::program("osslsigncode").and(skip::program("sbsign")).and(skip::program("openssl"))?;
        let set = Self(tempfile::Builder::new().prefix("set-").tempdir().unwrap());
        for (name, text) in [(SHIM, "shim"), ("ipxe.efi", "ipxe"), ("snponly.efi", "snponly"), ("mmx64.efi", "mm")] {
            let mut bytes = application();
            bytes[0x404..0x404 + text.len()].copy_from_slice(text.as_bytes());
            std::fs::write(set.path(&format!("plain-{name}")), bytes).unwrap();
        }
        set.run(
            "authority() {
                 openssl req -x509 -newkey rsa:2048 -nodes -days 9000 -subj \"/CN=$2\" -keyout $1-ca.key -out $1-ca.pem
                 openssl req -newkey rsa:2048 -nodes -subj \"/CN=$1 signer\" -keyout $1.key -out $1.csr
                 openssl x509 -req -in $1.csr -CA $1-ca.pem -CAkey $1-ca.key -CAcreateserial -days 9000 -out $1.pem
             }
             sign() { osslsigncode sign -h sha256 -certs $1.pem -key $1.key -in $2 -out $3; }
             authority old 'Firmware CA 2011'; authority new 'Firmware CA 2023'; authority ipxe 'Loader CA'
             sign old plain-ipxe-shimx64.efi half.efi
             sbsign --key new.key --cert new.pem --output ipxe-shimx64.efi half.efi
             for name in ipxe snponly mmx64; do sign ipxe plain-$name.efi $name.efi; done
             mkdir -p ipxeboot/x86_64-sb ipxeboot/arm64-sb
             cp ipxe.efi snponly.efi ipxeboot/x86_64-sb
             cp ipxe.efi ipxeboot/arm64-sb
             tar -czf ipxeboot.tar.gz ipxeboot",
        );
        Ok(set)
    }

    fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8Path::from_path(self.0.path()).unwrap().canonicalize_utf8().unwrap().join(name)
    }

    fn run(&self, script: &str) {
        let output = Command::new("sh").args(["-ec", script]).current_dir(self.0.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Set {
    /// Returns the pins of the set.
    fn pins(&self) -> String {
        let sha256 = |name: &str| Sha256Digest::of(&std::fs::read(self.path(name)).unwrap());
        let mut pins = format!(
            "[secure-boot-set]\nversion = \"2.0.0\"\n[secure-boot-set.archive]\n\
             url = \"https://unreachable.invalid/v2/ipxeboot.tar.gz\"\nsha256 = \"{}\"\n",
            sha256("ipxeboot.tar.gz")
        );
        for name in [SHIM, "mmx64.efi", MEMBERS[0], MEMBERS[1]] {
            let source = if MEMBERS.contains(&name) {
                format!("member = \"x86_64-sb/{name}\"")
            } else {
                format!("url = \"https://unreachable.invalid/{name}\"")
            };
            let signers = if name == SHIM { "\"Firmware CA 2011\", \"Firmware CA 2023\"" } else { "\"Loader CA\"" };
            let sha256 = sha256(name);
            write!(
                pins,
                "[[secure-boot-set.file]]\nname = \"{name}\"\n{source}\nsha256 = \"{sha256}\"\nsigners = [{signers}]\n"
            )
            .unwrap();
        }
        pins
    }

    /// Returns a project that pins this set.
    fn project(&self, sites: &str) -> Project {
        let project = Project::new();
        let pins = String::from_utf8(project.read("vendor/pins.toml")).unwrap();
        project.write("vendor/pins.toml", &format!("{pins}{}", self.pins()));
        project.sites(sites);
        project
    }

    /// Builds with this set.
    fn build(&self, project: &Project) -> CliOutput {
        project.build(&["--secure-boot-set", self.path("").as_str().trim_end_matches('/')])
    }
}

const NO_LOADERS: &str = "[default]\nloaders = []\nscript = \"boot.ipxe\"\n[secure-boot]\nset = \"ipxe\"\n";

fn manifest(project: &Project) -> Manifest {
    Manifest::parse(&project.read("dist/tftp/manifest.json")).unwrap()
}

fn each_site_gets_the_set_with_its_own_script() -> Result<(), String> {
    let set = Set::make()?;
    let project = set.project(&format!(
        "{NO_LOADERS}[site.a]\nscript = \"url.ipxe\"\nvars = {{ boot_url = \"http://192.0.2.1/a.ipxe\" }}\n\
         [site.b]\n[site.c]\nloaders = [\"ipxe.pxe\", \"ipxe.efi\"]\n"
    ));
    project.write("embed-scripts/url.ipxe", "#!ipxe\ndhcp\nchain {{ boot_url }}");
    let built = set.build(&project).success();
    assert!(built.stdout.contains(" 2 loaders stamped, 0 kept, 18 hard links to others"), "{}", built.stdout);
    let listed = |manifest: &Manifest| {
        let line = |file: &netboot_loaders::tree::manifest::ManifestEntry| {
            let arch = file.arch.map(|arch| format!(" for {arch}")).unwrap_or_default();
            let (set, same) = (file.set.as_deref().unwrap_or("-"), file.same_as.as_ref().map_or("", |it| it.as_str()));
            format!("{}: {}{arch}, set {set}, {} {same}", file.path, file.kind, file.site.as_deref().unwrap_or("-"))
        };
        manifest.files.iter().map(line).map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
    };
    says!(project, listed(&manifest(&project)), "files-of-the-signed-set");
    let text = |path: &str| String::from_utf8(project.read(&format!("dist/tftp/{path}"))).unwrap();
    assert_eq!(
        text("sites/a/secureboot/autoexec.ipxe"),
        "#!ipxe\nimgfree autoexec.ipxe ||\ndhcp\nchain http://192.0.2.1/a.ipxe\n"
    );
    let inode = |path: &str| project.tree().join(path).metadata().unwrap().ino();
    assert_eq!(inode("secureboot/snponly-shimx64.efi"), inode("sites/b/secureboot/ipxe-shimx64.efi"));
    assert!(project.read("dist/tftp/secureboot/ipxe.efi") == std::fs::read(set.path("ipxe.efi")).unwrap());
    let verified = project.run(["verify"]).success().stdout;
    assert!(verified.contains("signed by CN=ipxe signer, issued by CN=Loader CA"), "{verified}");
    let again = project.build(&[]).success().stdout;
    assert!(again.contains(" is up to date, ") && again.contains(" 18 hard links to others"), "{again}");
    project.write("dist/tftp/autoexec.ipxe", "#!ipxe\n");
    project.write("dist/tftp/sites/c/secureboot/autoexec.ipxe", "#!ipxe\nshell\n");
    says!(project, project.run(["verify"]), "changed-scripts-of-the-signed-set");
    Ok(())
}

fn the_set_is_taken_from_files_an_archive_or_a_bundle() -> Result<(), String> {
    let set = Set::make()?;
    let project = set.project(NO_LOADERS);
    says!(project, project.build(&[]), "the-signed-set-is-missing");
    // Members from the archive beside the other files.
    for name in MEMBERS {
        std::fs::rename(set.path(name), set.path(&format!("{name}.away"))).unwrap();
    }
    set.build(&project).success();
    let first = project.snapshot();
    let (bundle, ipxe, archive) = (project.path("b.tar.gz"), project.path("ipxe"), project.path("syslinux.zip"));
    let origins = ["--ipxe-url", ipxe.as_str(), "--syslinux-archive", archive.as_str()];
    project.run([&["bundle-sources", "--offline", "--out", bundle.as_str()], &origins[..]].concat()).success();
    let listed = Command::new("tar").args(["-tzf", bundle.as_str()]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert_eq!(listed.lines().filter(|line| line.contains("-sources/signed-set/")).count(), 4, "{listed}");
    std::fs::remove_dir_all(project.path("cache")).unwrap();
    std::fs::remove_dir_all(project.path("dist")).unwrap();
    project.run(["build-loaders", "--offline", "--sources-from", bundle.as_str()]).success();
    assert!(project.snapshot() == first);
    // The archive alone, without the files that it does not have.
    std::fs::remove_dir_all(project.path("cache")).unwrap();
    let ran = project.build(&["--secure-boot-set", set.path("ipxeboot.tar.gz").as_str()]);
    let error = ran.error(5);
    assert!(error.starts_with("`ipxe-shimx64.efi`, `mmx64.efi` of the signed set ipxe 2.0.0 are not "), "{error}");
    // A project that does not use the set needs none of it.
    project.sites("[default]\nloaders = [\"ipxe.efi\"]\nscript = \"boot.ipxe\"\n");
    project.build(&[]).success();
    project.run([&["bundle-sources", "--offline", "--out", bundle.as_str()], &origins[..]].concat()).success();
    Ok(())
}

fn what_is_not_as_pinned_or_not_signed_as_expected_is_refused() -> Result<(), String> {
    let set = Set::make()?;
    let project = set.project(NO_LOADERS);
    let pins = String::from_utf8(project.read("vendor/pins.toml")).unwrap();
    let said = |pins: &str| {
        project.write("vendor/pins.toml", pins);
        let ran = set.build(&project);
        assert!(!project.tree().exists(), "{}", ran.stdout);
        let said = ran.stderr.replace(set.path("").as_str().trim_end_matches('/'), "SET");
        format!("{}: {}", ran.code, said)
    };
    let digest = |name: &str| Sha256Digest::of(&std::fs::read(set.path(name)).unwrap()).to_string();
    let other = digest("half.efi");
    let mut all = vec![
        said(&pins.replace(&digest("mmx64.efi"), &other)),
        said(&pins.replace("\"Firmware CA 2023\"", "\"Microsoft UEFI CA 2023\"")),
    ];
    // A signature that does not hold says nothing about who has signed.
    let (before, mut broken) = (digest("mmx64.efi"), std::fs::read(set.path("mmx64.efi")).unwrap());
    broken[0x404] ^= 1;
    std::fs::write(set.path("mmx64.efi"), &broken).unwrap();
    all.push(said(&pins.replace(&before, &digest("mmx64.efi"))));
    let pins = pins.replace(&before, &digest("mmx64.efi")).replace("mmx64.efi\"\nurl", "mmx64.efi\"\nsize = 7\nurl");
    let sized = said(&pins);
    assert!(sized.starts_with("6: error: `mmx64.efi` has "), "{sized}");
    assert!(sized.contains(" bytes, and its pin says 7, although the digest is right\n"), "{sized}");
    says!(project, redacted(&all.join("\n")), "signed-sets-that-are-not-as-pinned");
    let half = pins.replace(&digest(SHIM), &other);
    std::fs::rename(set.path("half.efi"), set.path(SHIM)).unwrap();
    let said = said(&half);
    let found = "found `Firmware CA 2011`, `old signer`, wanted `Firmware CA 2011`, `Firmware CA 2023`";
    assert!(said.starts_with("6: error: `ipxe-shimx64.efi` has its pinned digest, but not its signers: "), "{said}");
    assert!(said.contains(found), "{said}");
    for name in MEMBERS {
        std::fs::remove_file(set.path(name)).unwrap();
    }
    // Archives with another digest, without the members, with two of them, with a link, and with none of the format.
    std::fs::remove_file(set.path(SHIM)).unwrap();
    let archives = [
        ("echo x > ipxeboot/more", false),
        ("rm -r ipxeboot/x86_64-sb", true),
        ("mkdir -p ipxeboot/x86_64-sb x86_64-sb; cp half.efi.away x86_64-sb/ipxe.efi; cp -r x86_64-sb ipxeboot/", true),
        ("rm -r x86_64-sb; ln -sf snponly.efi ipxeboot/x86_64-sb/ipxe.efi", true),
    ];
    std::fs::write(set.path("half.efi.away"), "x").unwrap();
    let before = digest("ipxeboot.tar.gz");
    let said = archives.map(|(change, pinned)| {
        set.run(&format!(
            "{change}; tar -czf ipxeboot.tar.gz ipxeboot $(ls -d x86_64-sb || true); touch -d @1 ipxeboot"
        ));
        let now = digest("ipxeboot.tar.gz");
        let pins = if pinned { pins.replace(&before, &now) } else { pins.clone() };
        project.write("vendor/pins.toml", &pins);
        let given = set.path("ipxeboot.tar.gz");
        let ran = project.build(&["--secure-boot-set", given.as_str()]);
        assert_eq!(ran.code, 6, "{}", ran.stderr);
        ran.stderr.replace(set.path("").as_str().trim_end_matches('/'), "SET")
    });
    says!(project, redacted(&said.join("\n")), "archives-that-have-no-signed-set");
    Ok(())
}

/// Returns `text` with each digest replaced, as they differ from run to run.
fn redacted(text: &str) -> String {
    let word = |word: &str| {
        let digest = word.trim_matches(|c: char| !c.is_ascii_hexdigit());
        if digest.len() == 64 { word.replace(digest, "<digest>") } else { word.to_owned() }
    };
    text.split(' ').map(|part| part.split('\n').map(word).collect::<Vec<_>>().join("\n")).collect::<Vec<_>>().join(" ")
}

fn a_script_that_the_signed_loaders_cannot_run_is_warned_of() -> Result<(), String> {
    let set = Set::make()?;
    let project = set.project(
        "[default]\nloaders = []\n[secure-boot]\nset = \"ipxe\"\n\
         [site.a]\nscript = \"verify.ipxe\"\n[site.b]\nscript = \"secure.ipxe\"\ntrust = [\"ca.pem\"]\n",
    );
    let certificate = std::fs::read_to_string(set.path("ipxe-ca.pem")).unwrap();
    project.write("embed-scripts/ca.pem", &certificate);
    project.write(
        "embed-scripts/verify.ipxe",
        "#!ipxe\ndhcp\nkernel nfs://192.0.2.1/srv/linux\nimgtrust --permanent\nimgverify linux linux.sig\nboot\n",
    );
    project.write("embed-scripts/secure.ipxe", "#!ipxe\ndhcp\nchain https://boot.example.com/menu.ipxe\n");
    let warned = set.build(&project).warned().stderr;
    says!(project, warned, "scripts-that-signed-loaders-cannot-run");
    assert!(!project.tree().join("secureboot").exists() && project.tree().join("sites/a/secureboot/ipxe.efi").exists());
    project.write("embed-scripts/verify.ipxe", "#!ipxe\nno-such-command\n");
    says!(project, set.build(&project), "scripts-that-no-loader-runs");
    Ok(())
}

fn the_set_can_be_in_the_root_where_nothing_is_confused_with_it() -> Result<(), String> {
    let set = Set::make()?;
    let root = format!("{NO_LOADERS}place = \"root\"\n");
    let project = set.project(&format!("{root}[site.a]\nloaders = [\"ipxe.pxe\"]\n"));
    set.build(&project).success();
    let paths: Vec<_> = manifest(&project).files.into_iter().map(|file| file.path.into_string()).collect();
    let files = ["autoexec.ipxe", "ipxe-shimx64.efi", "ipxe.efi", "mmx64.efi", "snponly-shimx64.efi", "snponly.efi"];
    for file in files {
        assert!(paths.iter().any(|path| path == file) && paths.contains(&format!("sites/a/{file}")), "{paths:?}");
    }
    assert!(paths.is_sorted() && paths.contains(&"sites/a/ipxe.pxe".to_owned()), "{paths:?}");
    project.run(["verify"]).success();
    let said = ["ipxe.efi", "arm64/snponly.efi"].map(|loader| {
        project.sites(&format!("{root}[site.a]\nloaders = [\"{loader}\"]\n"));
        set.build(&project).stderr
    });
    says!(project, said.join("\n"), "signed-sets-beside-loaders-of-ones-own");
    project.sites(&format!("{NO_LOADERS}[site.a]\nloaders = [\"ipxe.efi\"]\n"));
    set.build(&project).success();
    project.run(["verify"]).success();
    Ok(())
}

fn what_is_wrong_about_the_set_is_told() -> Result<(), String> {
    let set = Set::make()?;
    let project = set.project(NO_LOADERS);
    let table = |lines: &str| {
        project.sites(&format!("[default]\nloaders = []\nscript = \"boot.ipxe\"\n[secure-boot]\n{lines}\n"));
        let CliOutput { code, stderr, .. } = set.build(&project);
        format!("{code}: {stderr}")
    };
    let tables = ["set = \"grub\"\nplace = \"here\"", "place = \"root\"", "set = \"ipxe\"\nsbat-name = \"me\""];
    let mut said: Vec<String> = tables.into_iter().map(table).collect();
    let pins = String::from_utf8(project.read("vendor/pins.toml")).unwrap();
    project.write("vendor/pins.toml", pins.split_once("[secure-boot-set]").unwrap().0);
    said.push(table("set = \"ipxe\""));
    says!(project, said.join("\n"), "tables-about-the-signed-set");
    let missing = pins.split("[[secure-boot-set.file]]").take(2).collect::<Vec<_>>().join("[[secure-boot-set.file]]");
    project.write("vendor/pins.toml", &missing);
    shows!(project, ["build-loaders", "--offline"], "pins-of-a-part-of-the-signed-set");
    Ok(())
}

fn a_tree_with_the_set_is_released_deployed_and_listed() -> Result<(), String> {
    let set = Set::make()?;
    let project = set.project(&format!("{NO_LOADERS}[site.a]\nloaders = [\"ipxe.pxe\"]\n"));
    set.build(&project).success();
    project.run(["deploy", project.path("served").as_str()]).success();
    project.run(["verify", project.path("served").as_str()]).success();
    says!(project, project.run(["boot-test", "--list"]), "cases-of-a-tree-with-the-signed-set");
    let (ipxe, tree) = (project.path("ipxe"), project.tree());
    let origins = ["--offline", "--ipxe-url", ipxe.as_str()];
    project.run([&["reproduce", "--plain", "--against", tree.as_str()], &origins[..]].concat()).success();
    project.write("CHANGELOG.md", "# Changelog\n\n## [Unreleased]\n\n- All.\n");
    project.add_book("index.html#top");
    let archive = project.path("syslinux.zip");
    let mut release =
        project.command([&["release", "--dry-run", "--syslinux-archive", archive.as_str()], &origins[..]].concat());
    CliOutput::from(release.env("PATH", project.path_with_tools()).output().unwrap()).success();
    let json = |suffix: &str| {
        let file = format!("dist/release/netboot-loaders-{}-{suffix}", env!("CARGO_PKG_VERSION"));
        serde_json::from_slice::<Value>(&project.read(&file)).unwrap()
    };
    let sbom = json("sbom.cdx.json");
    let parts = sbom["components"].as_array().unwrap();
    let set_part = parts.iter().find(|part| part["bom-ref"] == "signed-set").unwrap();
    assert_eq!((&set_part["name"], &set_part["version"]), (&json!("ipxe-signed-set"), &json!("2.0.0")));
    let dependencies = sbom["dependencies"].as_array().unwrap();
    let of_shim = dependencies.iter().find(|it| it["ref"] == "file:secureboot/snponly-shimx64.efi").unwrap();
    assert_eq!(of_shim["dependsOn"], json!(["signed-set"]));
    let provenance = json("provenance.intoto.json");
    let resolved = &provenance["predicate"]["buildDefinition"]["resolvedDependencies"];
    let names: Vec<_> =
        resolved.as_array().unwrap().iter().filter(|it| it["annotations"]["set"] == "ipxe 2.0.0").collect();
    assert_eq!(names.len(), 5, "{names:?}");
    Ok(())
}

fn recipes_hand_out_the_shim_where_there_is_no_loader_of_ones_own() -> Result<(), String> {
    let set = Set::make()?;
    let project = set.project(&format!("{NO_LOADERS}[site.a]\n"));
    project.write(
        "embed-scripts/network.toml",
        "subnet = \"192.0.2.0/24\"\ntftp-server = \"192.0.2.1\"\nhttp-url = \"http://192.0.2.1/tftp\"\n\
         ranges = [\"192.0.2.100-192.0.2.199\"]\nboot = \"http://192.0.2.1/boot.ipxe\"\ninterface = \"eth0\"\n\
         [[host]]\nname = \"one\"\nmac = \"52:54:00:00:00:01\"\nfirmware = \"uefi\"\nsite = \"a\"\n",
    );
    let recipe = || {
        let ran = project.run(["recipe", "dnsmasq"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        ran.stdout
    };
    let boots = |recipe: &str| {
        let lines = recipe.lines().filter(|line| !line.starts_with('#') && line.contains("secureboot"));
        lines.map(str::to_owned).collect::<Vec<_>>().join("\n")
    };
    says!(project, boots(&recipe()), "what-dnsmasq-hands-out-of-the-signed-set");
    assert!(recipe().contains("\ndhcp-no-override\n"), "{}", recipe());
    let requests = |recipe: &str| {
        let rules = recipe.lines().filter(|line| line.contains("add req-filename="));
        let words = |line: &str| {
            let after = |key: &str| line.split_once(key).unwrap().1.split(' ').next().unwrap().to_owned();
            format!("{} {}", after("{ add req-filename="), after(" real-filename="))
        };
        rules.map(words).collect::<Vec<_>>().join("\n")
    };
    let routeros = project.run(["recipe", "routeros"]).stdout;
    says!(project, requests(&routeros), "what-routeros-serves-of-the-signed-set-to-two-folders");
    // With one folder, names without a folder lead there.
    let network = String::from_utf8(project.read("embed-scripts/network.toml")).unwrap();
    project.write("embed-scripts/network.toml", network.split("[[host]]").next().unwrap());
    let routeros = project.run(["recipe", "routeros"]).stdout;
    says!(project, requests(&routeros), "what-routeros-serves-of-the-signed-set-to-one-folder");
    project.write("embed-scripts/network.toml", &network);
    // A loader of one's own goes first, as before.
    project.sites(&format!("{}[site.a]\n", NO_LOADERS.replace("[]", "[\"ipxe.efi\"]")));
    assert!(!recipe().contains("secureboot/"), "{}", recipe());
    Ok(())
}
