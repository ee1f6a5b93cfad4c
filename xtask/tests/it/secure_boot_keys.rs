//! Keys for Secure Boot: what openssl, and firmware in its place, makes of each file.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use netboot_fixtures::project::{CliOutput, Project};
use netboot_fixtures::{same, says, shows, skip};
use rustix::process::{Pid, Signal, kill_process};

netboot_fixtures::tests! {
    a_folder_has_keys_that_only_its_owner_can_read_and_a_chain_that_holds,
    variables_are_signed_by_the_authority_as_firmware_checks_them,
    further_certificates_get_into_db_alone,
    a_passphrase_protects_both_keys_and_is_shown_nowhere,
    a_new_leaf_is_of_the_same_authority_and_the_old_one_is_kept,
    nothing_is_replaced_and_nothing_is_put_into_a_project,
    wrong_files_and_missing_programs_leave_no_folder,
    a_full_disk_is_told_as_one,
    an_interrupt_leaves_nothing_and_so_does_the_run_after_a_kill,
}

/// A project, and a folder beside it for keys.
struct World {
    project: Project,
    folder: Utf8PathBuf,
    _guard: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let guard = tempfile::Builder::new().prefix("netboot-keys-").tempdir().unwrap();
        let folder = Utf8Path::from_path(guard.path()).unwrap().canonicalize_utf8().unwrap();
        Self { project: Project::new(), folder, _guard: guard }
    }

    fn path(&self, name: &str) -> Utf8PathBuf {
        self.folder.join(name)
    }

    fn keys(&self, more: &[&str]) -> CliOutput {
        self.project.run(self.words(more))
    }

    fn words(&self, more: &[&str]) -> Vec<String> {
        let words = ["secure-boot", "keys", "--out", self.path("keys").as_str()].map(str::to_owned);
        words.into_iter().chain(more.iter().map(|word| (*word).to_owned())).collect()
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path("keys").join(name)).unwrap()
    }

    /// Runs a shell in the folder of keys.
    fn shell(&self, script: &str) -> Output {
        Command::new("sh").args(["-euc", script]).current_dir(self.path("keys")).output().unwrap()
    }

    #[track_caller]
    fn succeeds(&self, script: &str) -> String {
        let output = self.shell(script);
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Returns the names of everything beside the project.
    fn names(&self) -> Vec<String> {
        names(&self.folder)
    }
}

fn names(folder: &Utf8Path) -> Vec<String> {
    let entries = folder.read_dir_utf8().unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().to_owned()).collect();
    names.sort();
    names
}

fn mode(path: &Utf8Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}

const FILES: [&str; 12] = [
    "KEK.auth",
    "KEK.esl",
    "PK.auth",
    "PK.esl",
    "README.txt",
    "ca.der",
    "ca.key",
    "ca.pem",
    "db.auth",
    "db.esl",
    "loader.key",
    "loader.pem",
];

fn a_folder_has_keys_that_only_its_owner_can_read_and_a_chain_that_holds() -> Result<(), String> {
    skip::program("openssl")?;
    let world = World::new();
    // The umask must not matter.
    let mut command = Command::new("sh");
    command.args(["-c", "umask 0; exec \"$@\"", "sh"]);
    let given = world.project.command(world.words(&["--name", "Example Corp.", "--days", "100"]));
    command.arg(given.get_program()).args(given.get_args());
    let ran = CliOutput::from(command.output().unwrap()).success();
    let shown = ran.stdout.replace(world.folder.as_str(), "FOLDER");
    same!(shown, @r#"
    FOLDER/keys: keys of the authority `Example Corp.`
      ca.key      SECRET  signs certificates for loaders, and changes to PK, KEK and db
      loader.key  SECRET  signs loaders
      ca.pem              certificate of ca.key, for programs
      ca.der              the same, for firmware menus and MokManager
      loader.pem          certificate of loader.key, then ca.pem
      PK.auth             signed platform key, for Setup Mode
      KEK.auth            signed key exchange key, for Setup Mode
      db.auth             signed list of what may start, for Setup Mode
      PK.esl              PK.auth without its signature
      KEK.esl             KEK.auth without its signature
      db.esl              db.auth without its signature
      README.txt          what each file is for, and how to enrol
    next: `cp FOLDER/keys/loader.pem embed-scripts/`, and add this to embed-scripts/sites.toml:
      [secure-boot]
      certificate = "loader.pem"
      sbat-name = "example-corp"
      key = "FOLDER/keys/loader.key"
    then enrol a machine as README.txt says
    keep ca.key where nothing is built or served; only a new loader.key needs it
    "#);
    assert_eq!((world.names(), names(&world.path("keys"))), (vec!["keys".to_owned()], FILES.map(str::to_owned).into()));
    assert_eq!(mode(&world.path("keys")), 0o700);
    let readme = String::from_utf8(world.read("README.txt")).unwrap();
    for name in FILES {
        let wanted = if ["ca.key", "loader.key"].contains(&name) { 0o600 } else { 0o644 };
        assert_eq!(mode(&world.path("keys").join(name)), wanted, "{name}");
        assert!(readme.contains(name), "{name}");
    }
    world.succeeds("openssl verify -CAfile ca.pem -purpose any loader.pem");
    // The file has the leaf first: this is whose key it is.
    world.succeeds(
        "test \"$(openssl x509 -in loader.pem -pubkey -noout)\" = \"$(openssl pkey -in loader.key -pubout)\"",
    );
    world.succeeds("test \"$(openssl x509 -in ca.pem -pubkey -noout)\" = \"$(openssl pkey -in ca.key -pubout)\"");
    world.succeeds("openssl x509 -in ca.der -inform DER -outform PEM | cmp - ca.pem");
    assert!(world.read("loader.pem").ends_with(&world.read("ca.pem")));
    let properties = "-noout -subject -issuer -ext basicConstraints,keyUsage,extendedKeyUsage -nameopt multiline";
    let leaf = world.succeeds(&format!("openssl x509 -in loader.pem {properties}"));
    for part in ["= Example Corp. loaders\n", "= Example Corp.\n", "CA:FALSE", "Digital Signature", "Code Signing"] {
        assert!(leaf.contains(part), "{part}: {leaf}");
    }
    let ca = world.succeeds(&format!("openssl x509 -in ca.pem {properties}"));
    assert!(ca.contains("CA:TRUE") && ca.contains("Certificate Sign") && ca.contains("= Example Corp.\n"), "{ca}");
    for (file, days) in [("loader.pem", 100), ("ca.pem", 200)] {
        let ends = |days: i32| format!("openssl x509 -in {file} -noout -checkend {}", days * 86_400);
        assert!(world.shell(&ends(days - 1)).status.success() && !world.shell(&ends(days + 1)).status.success());
        let text = world.succeeds(&format!("openssl x509 -in {file} -noout -text"));
        assert!(text.contains("(2048 bit)") && text.contains("sha256WithRSAEncryption"), "{text}");
    }
    Ok(())
}

/// Takes the file of a signed variable apart. Returns its time, its signature and its content.
fn parts(auth: &[u8]) -> (&[u8], &[u8], &[u8]) {
    let (time, rest) = auth.split_at(16);
    let length = usize::try_from(u32::from_le_bytes(*rest.first_chunk().unwrap())).unwrap();
    assert_eq!(&rest[4..8], [0, 2, 0xf1, 0x0e]);
    let kind = [0x9d, 0xd2, 0xaf, 0x4a, 0xdf, 0x68, 0xee, 0x49, 0x8a, 0xa9, 0x34, 0x7d, 0x37, 0x56, 0x65, 0xa7];
    assert_eq!(&rest[8..24], kind);
    (time, &rest[24..length], &rest[length..])
}

/// Returns a DER element with a length of two bytes.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    [&[tag, 0x82], &u16::try_from(content.len()).unwrap().to_be_bytes()[..], content].concat()
}

fn variables_are_signed_by_the_authority_as_firmware_checks_them() -> Result<(), String> {
    skip::program("openssl")?;
    let world = World::new();
    world.keys(&[]).success();
    let global = [0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0, 0xe0, 0x98, 0x03, 0x2b, 0x8c];
    let database = [0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f];
    let sha256 = [0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
    for (name, namespace) in [("PK", global), ("KEK", global), ("db", database)] {
        let auth = world.read(&format!("{name}.auth"));
        let (time, signature, content) = parts(&auth);
        assert_eq!(content, world.read(&format!("{name}.esl")));
        let (year, pad) = (u16::from_le_bytes(*time.first_chunk().unwrap()), &time[7..]);
        assert!((2025..2100).contains(&year) && pad == [0; 9], "{time:?}");
        // EDK2 finds the algorithm at this place, and only in a signature without an envelope.
        assert_eq!(&signature[11..][..sha256.len()], sha256);
        let certificate = world.read("ca.der");
        assert_eq!((&content[..4], &content[44..]), (&[0xa1, 0x59, 0xc0, 0xa5][..], &certificate[..]));
        let utf16: Vec<u8> = name.bytes().flat_map(|byte| [byte, 0]).collect();
        let covered = [&utf16[..], &namespace, &[0x27, 0, 0, 0], time, content].concat();
        // openssl wants the envelope.
        let id = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
        let envelope = element(0x30, &[&id[..], &element(0xa0, signature)].concat());
        std::fs::write(world.path("envelope"), envelope).unwrap();
        let verify = "openssl smime -verify -binary -inform DER -in ../envelope -content ../covered -CAfile ca.pem \
                      -purpose any > ../verified";
        std::fs::write(world.path("covered"), &covered).unwrap();
        world.succeeds(verify);
        let mut other = covered.clone();
        other[utf16.len() + 16] ^= 0x40;
        std::fs::write(world.path("covered"), &other).unwrap();
        assert!(!world.shell(verify).status.success(), "{name}: the signature covers no attributes");
    }
    Ok(())
}

fn further_certificates_get_into_db_alone() -> Result<(), String> {
    skip::program("openssl")?;
    let world = World::new();
    std::fs::create_dir(world.path("keys")).unwrap();
    world.succeeds(
        "for name in a b c; do
            openssl req -x509 -newkey rsa:2048 -nodes -days 9 -subj /CN=$name -keyout ../$name.key -out ../$name.pem
        done
        cat ../a.pem ../b.pem > ../ab.pem
        openssl x509 -in ../c.pem -outform DER -out ../c.der
        for name in a b c; do openssl x509 -in ../$name.pem -outform DER -out ../$name.der; done",
    );
    let (pem, der) = (world.path("ab.pem"), world.path("c.der"));
    // An empty folder counts as none.
    world.keys(&["--db", pem.as_str(), "--db", der.as_str()]).success();
    let list = |certificate: &[u8]| [&world.read("db.esl")[..16], &[0; 28], certificate].concat().len();
    let certificates = ["a", "b", "c"].map(|name| std::fs::read(world.path(&format!("{name}.der"))).unwrap());
    let ca = world.read("ca.der");
    let all: Vec<&[u8]> = std::iter::once(&ca).chain(&certificates).map(Vec::as_slice).collect();
    let (mut rest, db) = (world.read("db.esl"), world.read("db.esl"));
    for certificate in &all {
        let end = list(certificate);
        assert_eq!((&rest[..16], &rest[44..end]), (&db[..16], *certificate));
        assert_eq!(usize::try_from(u32::from_le_bytes(*rest[16..].first_chunk().unwrap())).unwrap(), end);
        rest.drain(..end);
    }
    assert!(rest.is_empty());
    assert_eq!(world.read("PK.esl").len(), list(&ca));
    assert_eq!(world.read("KEK.esl"), world.read("PK.esl"));
    assert!(String::from_utf8(world.read("README.txt")).unwrap().contains("db has 3 further\ncertificates."));
    Ok(())
}

fn a_passphrase_protects_both_keys_and_is_shown_nowhere() -> Result<(), String> {
    skip::program("openssl")?;
    let world = World::new();
    let file = world.path("passphrase");
    std::fs::write(&file, "S3CRET phrase\n").unwrap();
    set_mode(&file, 0o640);
    let refused = world.keys(&["--passphrase-file", file.as_str()]).error(3);
    assert!(refused.contains(" can be read by others (mode 640), wanted its owner alone\n"), "{refused}");
    set_mode(&file, 0o600);
    // openssl would take the first line, and what signs loaders all of them.
    std::fs::write(&file, "S3CRET phrase\nanother line\n").unwrap();
    let refused = world.keys(&["--passphrase-file", file.as_str()]).error(3);
    assert!(refused.contains("passphrase` has several lines, wanted a single line with a passphrase\n"), "{refused}");
    std::fs::write(&file, "S3CRET phrase\n").unwrap();
    // A stand-in keeps what each run of openssl is given.
    let openssl = skip::program("openssl")?;
    world.project.add_tool("openssl", &format!("echo \"$@\" >> {}\nexec {openssl} \"$@\"\n", world.path("log")));
    let run = |more: &[&str]| {
        let mut command = world.project.command(world.words(more));
        CliOutput::from(command.env("PATH", world.project.path_with_tools()).output().unwrap())
    };
    let ran = run(&["--passphrase-file", file.as_str()]).success();
    assert!(ran.stdout.contains(&format!("  passphrase-file = \"{file}\"\n")), "{}", ran.stdout);
    let renewed = run(&["--leaf", "--passphrase-file", file.as_str()]).success();
    let log = std::fs::read_to_string(world.path("log")).unwrap();
    assert!(log.contains(&format!("-passin file:{file}")), "{log}");
    for text in [&ran.stdout, &ran.stderr, &renewed.stdout, &renewed.stderr, &log] {
        assert!(!text.contains("S3CRET"), "{text}");
    }
    for name in ["ca.key", "loader.key"] {
        assert!(world.read(name).starts_with(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));
        world.succeeds(&format!("openssl pkey -noout -in {name} -passin 'pass:S3CRET phrase'"));
    }
    let before = Project::files_of(&world.path("keys"));
    std::fs::write(&file, "another\n").unwrap();
    let shown = |text: String| text.replace(world.folder.as_str(), "FOLDER");
    same!(shown(run(&["--leaf", "--passphrase-file", file.as_str()]).error(1)), @r"
    `FOLDER/keys/ca.key` cannot be read with the passphrase in `FOLDER/passphrase`
    hint: name the file of its passphrase with `--passphrase-file`
    ");
    same!(shown(run(&["--leaf"]).error(1)), @r"
    `FOLDER/keys/ca.key` cannot be read without a passphrase
    hint: name the file of its passphrase with `--passphrase-file`
    ");
    assert!(before == Project::files_of(&world.path("keys")));
    Ok(())
}

fn a_new_leaf_is_of_the_same_authority_and_the_old_one_is_kept() -> Result<(), String> {
    skip::program("openssl")?;
    let world = World::new();
    world.keys(&["--name", "Example"]).success();
    let before = Project::files_of(&world.path("keys"));
    let serial = world.succeeds("openssl x509 -in loader.pem -noout -serial");
    let serial = serial.trim().strip_prefix("serial=").unwrap();
    let ran = world.keys(&["--leaf", "--days", "7"]).success();
    same!(ran.stdout.replace(world.folder.as_str(), "FOLDER").replace(serial, "SERIAL"), @r"
    FOLDER/keys: new loader.key and loader.pem below the same authority
      loader-SERIAL.key kept from before
      loader-SERIAL.pem kept from before
    next: copy loader.pem into embed-scripts, and build the loaders again; no machine has to be enrolled again
    ");
    let after = Project::files_of(&world.path("keys"));
    let content = |files: &[(Utf8PathBuf, Vec<u8>)], name: &str| {
        files.iter().find(|(path, _)| path == name).map(|(_, content)| content.clone())
    };
    for (path, old) in &before {
        let (name, is_leaf) = (path.as_str(), path.as_str().starts_with("loader."));
        assert_eq!(content(&after, name).as_ref() == Some(old), !is_leaf, "{name}");
        if is_leaf {
            let kept = name.replace("loader.", &format!("loader-{serial}."));
            assert_eq!(content(&after, &kept).as_ref(), Some(old), "{kept}");
        }
    }
    assert_eq!(after.len(), FILES.len() + 2);
    world.succeeds("openssl verify -CAfile ca.pem -purpose any loader.pem");
    world.succeeds(
        "test \"$(openssl x509 -in loader.pem -pubkey -noout)\" = \"$(openssl pkey -in loader.key -pubout)\"",
    );
    assert!(world.succeeds("openssl x509 -in loader.pem -noout -subject").contains("Example loaders"));
    for name in ["loader.key", &format!("loader-{serial}.key")] {
        assert_eq!(mode(&world.path("keys").join(name)), 0o600, "{name}");
    }
    // What a kill between two renames leaves is repaired.
    std::fs::remove_file(world.path("keys/loader.pem")).unwrap();
    world.keys(&["--leaf"]).success();
    world.succeeds(
        "test \"$(openssl x509 -in loader.pem -pubkey -noout)\" = \"$(openssl pkey -in loader.key -pubout)\"",
    );
    assert!(world.path("keys/loader-unknown.key").exists());
    Ok(())
}

fn nothing_is_replaced_and_nothing_is_put_into_a_project() -> Result<(), String> {
    skip::program("openssl")?;
    let world = World::new();
    world.keys(&[]).success();
    let before = Project::files_of(&world.path("keys"));
    let shown = |ran: CliOutput| ran.error(1).replace(world.folder.as_str(), "FOLDER");
    same!(shown(world.keys(&[])), @r"
    `FOLDER/keys` is not empty, and keys are never replaced
    hint: choose another folder with `--out`
    hint: or make a new key for loaders there with `cargo xtask secure-boot keys --leaf --out FOLDER/keys`
    ");
    std::fs::write(world.path("other"), "").unwrap();
    std::fs::create_dir(world.path("full")).unwrap();
    std::fs::write(world.path("full/file"), "").unwrap();
    std::os::unix::fs::symlink("/nowhere-at-all", world.path("dangling")).unwrap();
    std::os::unix::fs::symlink(&world.folder, world.path("link")).unwrap();
    let at = |name: &str| {
        let ran = world.project.run(["secure-boot", "keys", "--out", world.path(name).as_str()]);
        shown(ran).lines().next().unwrap().to_owned()
    };
    assert_eq!(at("full"), "`FOLDER/full` is not empty, and keys are never replaced");
    for name in ["other", "link"] {
        let wanted = "is a file, a link or a mount point, wanted the path of a new folder";
        assert_eq!(at(name), format!("`FOLDER/{name}` {wanted}"));
    }
    assert!(at("dangling").contains("is a link that leads nowhere"));
    let inside = ["keys", "dist/keys", "embed-scripts/keys"].map(|name| world.project.path(name));
    std::os::unix::fs::symlink(&world.project.root, world.path("project")).unwrap();
    let linked = world.path("project/keys");
    for folder in inside.iter().chain([&linked]) {
        let error = world.project.run(["secure-boot", "keys", "--out", folder.as_str()]).error(1);
        assert!(error.contains("is in the project `") || error.contains("holds inputs"), "{error}");
        assert!(!folder.exists(), "{folder}");
    }
    shows!(world.project, ["secure-boot", "keys", "--out", inside[0].as_str()], @r"
    exit code 1, stderr:
    error: `PROJECT/keys` is in the project `PROJECT`, where keys end up in a repository
    hint: choose another folder with `--out`
    ");
    let error = world.project.run(["secure-boot", "keys", "--leaf", "--out", world.path("full").as_str()]).error(1);
    same!(error.replace(world.folder.as_str(), "FOLDER"), @r"
    `FOLDER/full` has no `ca.key`, wanted a folder of keys
    hint: choose another folder with `--out`
    hint: or leave `--leaf` out
    ");
    assert!(before == Project::files_of(&world.path("keys")));
    assert_eq!(world.names(), ["dangling", "full", "keys", "link", "other", "project"]);
    Ok(())
}

fn set_mode(path: &Utf8Path, mode: u32) {
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
}

fn wrong_files_and_missing_programs_leave_no_folder() {
    let world = World::new();
    let file = world.path("file");
    let refused = |more: &[&str], code: i32| world.keys(more).error(code).replace(world.folder.as_str(), "FOLDER");
    let first = |text: String| text.lines().next().unwrap().to_owned();
    let option = "--passphrase-file";
    assert_eq!(first(refused(&[option, file.as_str()], 3)), "there is no `FOLDER/file`, which signing needs");
    assert!(refused(&[option, world.folder.as_str()], 3).starts_with("`FOLDER` is no plain file of at most "));
    assert_eq!(first(refused(&["--db", file.as_str()], 1)), "cannot read `FOLDER/file`");
    assert!(refused(&["--db", world.folder.as_str()], 1).starts_with("cannot read `FOLDER`"));
    for (text, found) in
        [("", "an empty line"), ("\nsecond\n", "an empty first line"), ("S3CRET\r\n", "a carriage return")]
    {
        std::fs::write(&file, text).unwrap();
        set_mode(&file, 0o600);
        let error = first(refused(&["--passphrase-file", file.as_str()], 3));
        assert_eq!(error, format!("`FOLDER/file` has {found}, wanted a single line with a passphrase"));
    }
    for content in ["S3CRET", "-----BEGIN PRIVATE KEY-----\nMC4CAQ==\n-----END PRIVATE KEY-----\n", ""] {
        std::fs::write(&file, content).unwrap();
        let error = refused(&["--db", file.as_str()], 3);
        let wanted = "`FOLDER/file` has something else than certificates, wanted certificates as PEM, or one as DER";
        assert!(error.starts_with(wanted) && !error.contains("S3CRET"), "{error}");
    }
    for name in ["", "a=b", "\u{e9}"] {
        assert_eq!(world.keys(&["--name", name]).code, 2, "{name}");
    }
    assert_eq!(world.keys(&["--leaf", "--name", "x"]).code, 2);
    assert_eq!(world.keys(&["--days", "0"]).code, 2);
    let mut command = world.project.command(world.words(&[]));
    says!(world.project, CliOutput::from(command.env("PATH", "/nowhere").output().unwrap()), @r"
    exit code 4, stderr:
    error: found no `openssl`, which makes keys and certificates
    hint: install it with `sudo apt-get update && sudo apt-get install -y --no-install-recommends openssl`
    hint: or install it with `sudo dnf install -y openssl`
    hint: or install it with `sudo pacman -Syu --needed --noconfirm openssl`
    hint: or install it with `sudo zypper --non-interactive install openssl`
    hint: or install it with `sudo apk add openssl`
    ");
    assert_eq!(world.names(), ["file"]);
}

/// On a full disk, openssl leaves empty files, and may end as if it had written them.
fn a_full_disk_is_told_as_one() -> Result<(), String> {
    skip::mount_namespaces()?;
    skip::program("openssl")?;
    let world = World::new();
    let folder = world.path("disk");
    std::fs::create_dir(&folder).unwrap();
    let mut full = 0;
    for kilobytes in (8..=100).step_by(4) {
        let keys = folder.join("keys");
        let command = world.project.command(["secure-boot", "keys", "--out", keys.as_str()]);
        let script = format!("mount -t tmpfs -o size={kilobytes}k none {folder}; exec \"$@\"");
        let mut unshare = Command::new("unshare");
        unshare.args(["-rm", "sh", "-ec", &script, "sh"]).arg(command.get_program()).args(command.get_args());
        let ran = CliOutput::from(unshare.output().unwrap());
        if ran.code == 0 {
            break;
        }
        let error = ran.error(1);
        let hint = format!("\nhint: free space on the file system of `{folder}`\nhint: or choose another folder with");
        let told = error.contains("\n  caused by: No space left on device (os error 28)\n") && error.contains(&hint);
        assert!(told, "{kilobytes} kB: {error}");
        full += 1;
    }
    assert!((8..20).contains(&full), "{full}");
    Ok(())
}

fn an_interrupt_leaves_nothing_and_so_does_the_run_after_a_kill() -> Result<(), String> {
    let openssl = skip::program("openssl")?;
    let world = World::new();
    for signal in [Signal::INT, Signal::KILL] {
        // The second key is made very slowly.
        let started = world.path("started");
        let script =
            format!("case \"$*\" in *loader.key*) touch {started}; exec sleep 60 ;; esac\nexec {openssl} \"$@\"\n");
        world.project.add_tool("openssl", &script);
        let mut command = world.project.command(world.words(&[]));
        let child = command.env("PATH", world.project.path_with_tools()).spawn().unwrap();
        let patience = Instant::now();
        while !started.exists() {
            assert!(patience.elapsed() < Duration::from_secs(60));
            std::thread::sleep(Duration::from_millis(10));
        }
        // The key of the authority is there by now, and nobody else can read it.
        assert_eq!(mode(&world.path(".keys.partial")), 0o700);
        assert_eq!(mode(&world.path(".keys.partial/ca.key")), 0o600);
        kill_process(Pid::from_child(&child), signal).unwrap();
        let code = child.wait_with_output().unwrap().status.code();
        std::fs::remove_file(&started).unwrap();
        if signal == Signal::INT {
            assert_eq!((code, world.names()), (Some(130), Vec::new()));
        } else {
            assert!(!world.path("keys").exists());
        }
    }
    world.keys(&[]).success();
    assert_eq!(world.names(), ["keys"]);
    Ok(())
}
