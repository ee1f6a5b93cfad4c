//! `lint` finds mistakes in scripts wherever they are, and says what it cannot read.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use camino::Utf8Path;
use netboot_fixtures::limits;
use netboot_fixtures::project::Project;
use netboot_fixtures::server::{Responder, ServedRequest, TestServer};
use netboot_fixtures::{says, shows};
use netboot_loaders::base::fs::walk;
use netboot_loaders::loader::smallest_application::application;
use netboot_script::{LintTarget, ParsedScript, Templates};
use serde_json::Value;

netboot_fixtures::tests! {
    findings_have_a_place_a_mark_and_a_remedy,
    warnings_fail_only_if_they_are_denied,
    programs_get_the_findings_as_json_and_as_sarif,
    folders_are_searched_and_links_are_not_followed,
    what_is_no_script_is_named,
    a_script_on_a_server_is_checked_and_a_large_one_is_refused,
    the_loaders_of_a_tree_say_what_is_missing,
    a_configuration_says_what_is_missing,
    a_build_stops_at_errors_and_shows_warnings,
    passwords_are_not_shown,
    words_as_long_as_a_script_are_shortened,
    ; slow:
    a_long_script_is_checked_within_limits,
    many_scripts_are_checked_within_limits,
    lines_with_secrets_are_not_shown,
    scripts_that_cannot_be_checked_hide_no_others,
    findings_that_are_not_counted_are_said,
    a_check_of_many_scripts_can_be_interrupted,
    ; full:
    scripts_of_other_projects_have_the_known_findings,
}

/// Lints scripts of other projects, which are not part of this repository. Every error and every warning in the snapshot
/// was looked at: no error is false, and of the warnings only those about two files of `RackHD/on-taskgraph` are, which its
/// server puts behind a first line. A folder for each project, called `OWNER+NAME`, has its files that end in `.ipxe`,
/// have `.ipxe.` in their names, or begin with `#!ipxe`, also after statements of a template; on GitHub, at these commits:
///
/// - `AdrianKoshka/ipxe-scripts` 6f58c7cc5c2069dc04bf0a8cc7a36bc2a2575dc8
/// - `RackHD/on-taskgraph` 81339fb2a8d3e103fdaa8b27c648bb9fbf7fa6fc
/// - `bradgillap/IPXEBOOT` 6b14e73b5f8d656a569fa9adc6828f46ee7c406d
/// - `canonical/maas` 9e51f33ce6f7f19bd91ecddfd97baf5495db4eba
/// - `danderson/netboot` 2ed7bd30206a51bae786b02d9a5b8156fdcc8870
/// - `garybowers/bootimus` 0dae82963c07703f72ed550ae32aec42cab3be60
/// - `harvester/ipxe-examples` 4f8aafafebdde6caddeaaf7456c6eec4c096fd47
/// - `ipxe/ipxe` 0ab2277c40f1de56c736b9e7db7ee23d52509ec5
/// - `metal3-io/ironic-image` db962c9444e2b9f09e00e8e75534cd919760cf7a
/// - `netbootxyz/netboot.xyz` 5e6620cc99ab97b003ee327cbdd6ae643979cbd5
/// - `openstack/ironic` 7bc6aba7dda0b8a863d0310af6f06925d30c9563
/// - `siderolabs/image-factory` 26b95cacb0846378fa5ed75e397eb732d6500c0a
/// - `theforeman/community-templates` 535e940d276c8090486d1962e09feb10d734ed2b
/// - `tinkerbell/tinkerbell` 9111b51c992046ce14a9a57f612f9ef0ffb0d698
/// - `warewulf/warewulf` 148e8de75b8a0a056868a8187b2daf382d9255c9
///
/// `netbootxyz+netboot.xyz+rendered` has the templates of netboot.xyz that begin as scripts, as Jinja renders them with
/// `trim_blocks`, and with the variables in `defaults/main.yml`, `vars/` and `endpoints.yml` of the same commit.
fn scripts_of_other_projects_have_the_known_findings() -> Result<(), String> {
    const VARIABLE: &str = "NETBOOT_LOADERS_TEST_SCRIPTS";
    let folder = std::env::var(VARIABLE).map_err(|_| format!("{VARIABLE} names no folder of scripts"))?;
    let folder = Utf8Path::new(&folder);
    let mut counts: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    for (path, _) in walk(folder).unwrap() {
        let project = path.iter().next().unwrap().to_owned();
        let content = std::fs::read(folder.join(&path)).unwrap();
        let text = String::from_utf8_lossy(&content);
        let script = ParsedScript::parse(&text, Templates::Opaque);
        let of = counts.entry(project).or_default();
        *of.entry("script".to_owned()).or_default() += 1;
        for finding in netboot_script::lint(&script, &LintTarget::default()).findings {
            *of.entry(format!("{} {}", finding.severity, finding.rule)).or_default() += 1;
        }
    }
    let mut all = BTreeMap::new();
    for (what, count) in counts.values().flatten() {
        *all.entry(what.clone()).or_default() += count;
    }
    counts.insert("~ all of them".to_owned(), all);
    let lines = |(project, counts): (String, BTreeMap<String, usize>)| {
        counts.iter().fold(format!("{project}\n"), |text, (what, count)| format!("{text}  {count:4} {what}\n"))
    };
    let text: String = counts.into_iter().map(lines).collect();
    says!(Project::cold(), text, "lint-of-other-projects");
    Ok(())
}

fn lint<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["lint"], more].concat()
}

fn findings_have_a_place_a_mark_and_a_remedy() {
    let project = Project::cold();
    shows!(project, lint(&[]), "lint-of-the-project");
    let mut long = String::from("#!ipxe\nkernel http://192.0.2.1/vmlinuz");
    (0..40).for_each(|number| write!(long, " arg{number}=value").unwrap());
    long += " || goto nowhere\n\techo \u{1b}[2J && wgett x\n";
    project.write("embed-scripts/long.ipxe", &long);
    project.write(
        "embed-scripts/menu.ipxe.j2",
        "#!ipxe\n{% for a in b %}\ngoto {{ a }}\n{% endfor %}\ndhcp --timeout 5\n:a\nshell\n",
    );
    shows!(project, lint(&[]), "lint-findings");
}

fn warnings_fail_only_if_they_are_denied() {
    let project = Project::cold();
    let script = project.write("a.ipxe", "#!ipxe\ndhcp --timeout 5 ||\n").path("a.ipxe");
    project.run(lint(&[script.as_str()])).success().printed("1 script: 0 errors, 1 warning, 0 notes\n");
    let denied = project.run(lint(&[script.as_str(), "--deny", "warnings"]));
    assert_eq!(denied.code, 9, "{denied}");
    assert!(denied.stderr.starts_with("error: found 0 errors and 1 warning in 1 script\n"), "{denied}");
    project.write("a.ipxe", "#!ipxe\ndhcp --timeout 5 || # lint: allow time-unit the card answers at once\n");
    project.run(lint(&[script.as_str(), "--deny", "warnings"])).success().printed("0 warnings, 0 notes\n");
    project.write("a.ipxe", "#!ipxe\ndhcp || # lint: allow time-unit\n");
    project.run(lint(&[script.as_str()])).success().printed("found no reason after `time-unit`");
}

fn programs_get_the_findings_as_json_and_as_sarif() {
    let project = Project::cold();
    let script = project.write("a b.ipxe", "#!ipxe\nwget x\n").path("a b.ipxe");
    let sarif = project.path("out.sarif");
    let ran = project.run(lint(&["--message-format", "json", script.as_str(), "--sarif", sarif.as_str()]));
    assert_eq!(ran.code, 9, "{ran}");
    let events: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let result = events.iter().find(|event| event["event"] == "result").unwrap();
    let finding = &result["scripts"][0]["findings"][0];
    assert_eq!((&finding["rule"], &finding["severity"]), (&"unknown-command".into(), &"error".into()), "{result}");
    assert_eq!((&finding["line"], &finding["column"], &result["errors"]), (&2.into(), &1.into(), &1.into()));
    assert_eq!(events.last().unwrap()["exit-code"], 9);
    let log: Value = serde_json::from_slice(&std::fs::read(&sarif).unwrap()).unwrap();
    let run = &log["runs"][0];
    let result = &run["results"][0];
    assert_eq!((&log["version"], &result["ruleId"]), (&"2.1.0".into(), &"unknown-command".into()), "{log}");
    let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
    assert_eq!(run["tool"]["driver"]["rules"][index]["id"], "unknown-command");
    let place = &result["locations"][0]["physicalLocation"];
    assert!(place["artifactLocation"]["uri"].as_str().unwrap().ends_with("a%20b.ipxe"), "{place}");
    assert_eq!((&place["region"]["startLine"], &place["region"]["endColumn"]), (&2.into(), &5.into()), "{place}");
    // The results of an earlier run, and what is no result, are not inputs of the project.
    let refused = project.run(lint(&["--sarif", project.path("vendor/x").as_str()])).error(1);
    assert!(refused.contains("holds inputs of the build or the cache"), "{refused}");
}

fn folders_are_searched_and_links_are_not_followed() {
    let project = Project::cold();
    let folder = project.path("scripts");
    for (name, text) in [
        ("scripts/a.ipxe", "#!ipxe\nshell\n"),
        ("scripts/sub/boot", "#!ipxe\nshell\n"),
        ("scripts/sub/b.ipxe.tmpl", "{{ define \"x\" }}#!ipxe\nshell\n{{ end }}"),
        ("scripts/sub/c.j2", "{# d #}\n#!ipxe\nshell\n"),
        ("scripts/sub/other.j2", "{{ e }}\n"),
        ("scripts/README.md", "#!ipxe is the first line\nwget\n#!ipxe\n"),
        ("scripts/notes.txt", "wget x\n"),
        ("outside.ipxe", "#!ipxe\nwget x\n"),
    ] {
        project.write(name, text);
    }
    symlink(project.path("outside.ipxe"), folder.join("link.ipxe")).unwrap();
    symlink(&project.root, folder.join("up")).unwrap();
    let ran = project.run(lint(&[folder.as_str()]));
    // A page that begins as a script is taken for one.
    assert!(ran.stdout.contains("README.md:2:1: error[unknown-command]") && !ran.stdout.contains("outside"), "{ran}");
    assert!(ran.stdout.ends_with("5 scripts: 1 error, 0 warnings, 0 notes\n"), "{ran}");
    let links = project.path("links");
    std::fs::create_dir(&links).unwrap();
    for number in 0..3 {
        symlink(project.path("outside.ipxe"), links.join(format!("{number}.ipxe"))).unwrap();
    }
    let error = project.run(lint(&[links.as_str()])).error(3);
    let wanted =
        format!("found no script in `{links}`, but 0 other files and 3 symbolic links, which are not followed\n");
    assert!(error.starts_with(&wanted), "{error}");
    limits::pipe(&links.join("pipe.ipxe"));
    let error = project.run(lint(&[links.as_str()])).error(3);
    let wanted = wanted.replace(" and 3", ", 1 special file and 3");
    assert!(error.starts_with(&wanted), "{error}");
}

fn scripts_that_cannot_be_checked_hide_no_others() {
    let project = Project::cold();
    project.write("all/a.ipxe", &format!("#!ipxe\n{}", "x\n".repeat(100_000)));
    project.write("all/b.ipxe", "#!ipxe\nwget x\n");
    std::fs::write(project.path("all/c.ipxe"), b"\xff\xfe#\0!\0i\0p\0x\0e\0\n\0").unwrap();
    project.write("all/d.ipxe", "#!ipxe\nshell\n");
    let ran = project.run(lint(&[project.path("all").as_str()]));
    assert!(ran.code == 3 && ran.stdout.contains("b.ipxe:2:1: error[unknown-command]"), "{ran}");
    assert!(ran.stdout.ends_with("2 scripts: 1 error, 0 warnings, 0 notes\n"), "{ran}");
    assert!(ran.stderr.contains("warning: cannot check 1 other script either\n"), "{ran}");
    assert!(ran.stderr.contains("error: `") && ran.stderr.contains("a.ipxe` has more than 100000 words"), "{ran}");
    std::fs::remove_file(project.path("all/b.ipxe")).unwrap();
    std::fs::remove_file(project.path("all/d.ipxe")).unwrap();
    let error = project.run(lint(&[project.path("all").as_str()])).error(3);
    assert!(error.contains("a.ipxe` has more than 100000 words"), "{error}");
}

fn findings_that_are_not_counted_are_said() {
    let project = Project::cold();
    for (count, is_said) in [(1000, false), (1001, true)] {
        project.write("a.ipxe", &format!("#!ipxe\n{}", "wget x\n".repeat(count)));
        let ran = project.run(lint(&[project.path("a.ipxe").as_str()]));
        assert!(ran.stdout.contains("1 script: 1000 errors, "), "{ran}");
        assert_eq!(ran.stderr.contains("a.ipxe` has more findings of one rule than are counted\n"), is_said, "{ran}");
    }
}

fn what_is_no_script_is_named() {
    let project = Project::cold();
    std::fs::write(project.path("picture"), b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR").unwrap();
    std::fs::write(project.path("utf16.ipxe"), b"\xff\xfe#\0!\0i\0p\0x\0e\0\n\0").unwrap();
    std::fs::write(project.path("large.ipxe"), ["#!ipxe\n".to_owned(), "shell\n".repeat(2 << 20)].concat()).unwrap();
    project.write("words.ipxe", &format!("#!ipxe\n{}", "x\n".repeat(100_000)));
    std::fs::write(project.path("bare.efi"), application()).unwrap();
    std::fs::create_dir(project.path("empty")).unwrap();
    for (name, wanted) in [
        ("picture", "wanted an iPXE script, a template of one, or an iPXE loader\n"),
        ("utf16.ipxe", "wanted an iPXE script, a template of one, or an iPXE loader\n"),
        ("large.ipxe", "has more than 2097152 bytes, wanted a script of at most that\n"),
        ("words.ipxe", "has more than 100000 words, wanted a script of at most that\n"),
        ("bare.efi", "has no embedded script\n"),
        ("nothing", "there is no `"),
        ("empty", "but 0 other files\n"),
    ] {
        let error = project.run(lint(&[project.path(name).as_str()])).error(3);
        assert!(error.contains(wanted) && error.contains(name) && error.contains("\nhint: "), "{name}: {error}");
    }
    project.write("open.ipxe.j2", "#!ipxe\nchain {{ url\n");
    shows!(project, lint(&[project.path("open.ipxe.j2").as_str()]), "lint-of-an-unclosed-template");
    let error = project.run(lint(&["--config", "none"])).error(3);
    assert!(error.contains("of the configuration `none`"), "{error}");
}

fn a_script_on_a_server_is_checked_and_a_large_one_is_refused() {
    let project = Project::cold();
    let server = TestServer::start(|request: &ServedRequest, answer: &mut Responder| match &*request.path {
        "/a.ipxe" => answer.whole("200 OK", &[], b"#!ipxe\nwget x\n"),
        "/large" => answer.whole("200 OK", &[], &b"x".repeat((2 << 20) + 1)),
        _ => answer.whole("404 Not Found", &[], b"none"),
    });
    let ran = project.run(lint(&[&server.url("/a.ipxe")]));
    assert!(ran.code == 9 && ran.stdout.contains("/a.ipxe:2:1: error[unknown-command]"), "{ran}");
    let error = project.run(lint(&[&server.url("/large")])).error(5);
    assert!(error.contains("found more than 2097152 bytes"), "{error}");
    let error = project.run(lint(&[&server.url("/none")])).error(5);
    assert!(error.contains("found status 404"), "{error}");
    let error = project.run(lint(&["--offline", &server.url("/a.ipxe")])).error(5);
    assert!(error.contains("this run is offline"), "{error}");
}

fn the_loaders_of_a_tree_say_what_is_missing() {
    let project = Project::new();
    project.write("embed-scripts/boot.ipxe", "#!ipxe\ndhcp ||\nping 192.0.2.1\nchain ${root-path} ||\nshell\n");
    project.build(&[]).warned();
    let ran = project.run(lint(&[project.tree().as_str()]));
    assert_eq!(ran.code, 9, "{ran}");
    let of = |loader: &str| format!("`ping` is not in `{loader}` of the configuration `default`: the script ends here");
    assert!(ran.stdout.contains(&of("ipxe.efi")) && ran.stdout.contains(&of("ipxe.pxe")), "{ran}");
    assert!(ran.stdout.contains(" (embedded script):3:1: error[missing-feature]"), "{ran}");
    // The same for one loader, and for one platform.
    let loader = project.tree().join("ipxe.pxe");
    let ran = project.run(lint(&[loader.as_str()]));
    assert!(ran.stdout.contains(&of("ipxe.pxe")) && ran.stdout.contains("\n1 script: "), "{ran}");
    let ran = project.run(lint(&[project.tree().as_str(), "--for", "efi"]));
    assert!(ran.stdout.contains(&of("ipxe.efi")) && !ran.stdout.contains(&of("ipxe.pxe")), "{ran}");
    // Beside no tree, a loader has what builds usually have.
    std::fs::copy(&loader, project.path("alone.pxe")).unwrap();
    let ran = project.run(lint(&[project.path("alone.pxe").as_str()]));
    assert!(ran.stdout.contains("`ping` needs `PING_CMD`: a BIOS build does not have it by default"), "{ran}");
}

fn a_configuration_says_what_is_missing() {
    let project = Project::cold();
    project.write("vendor/linked-objects/mine/ipxe.pxe.txt", "command chain\ncommand dhcp\nprotocol net/tcp/http\n");
    project.write("a.ipxe", "#!ipxe\ndhcp\nchain https://192.0.2.1/a ||\nchain http://192.0.2.1/a ||\nshell\n");
    let ran = project.run(lint(&["--config", "mine", project.path("a.ipxe").as_str()]));
    let of = |what: &str| format!("`{what}` is not in `ipxe.pxe` of the configuration `mine`: ");
    assert!(ran.stdout.contains(&(of("https://") + "the command fails")), "{ran}");
    assert!(ran.stdout.contains(&(of("shell") + "the script ends here")) && ran.code == 9, "{ran}");
    assert!(!ran.stdout.contains(&of("http://")), "{ran}");
    // The list of the build for Linux counts only if a script is for Linux.
    let list = "command chain\ncommand shell\nobject image/script\nprotocol net/tcp/http\n";
    project.write("vendor/linked-objects/mine/tap.linux.txt", list);
    project.write("b.ipxe", "#!ipxe\ndhcp ||\nchain http://192.0.2.1/vmlinuz ||\nshell\n");
    let ran = project.run(lint(&["--config", "mine", "--for", "linux", project.path("b.ipxe").as_str()]));
    assert!(
        ran.stdout.contains("`dhcp` is not in `tap.linux` of the configuration `mine`: the command fails"),
        "{ran}"
    );
    assert!(ran.stdout.contains("a build for Linux starts nothing else") && !ran.stdout.contains("`shell`"), "{ran}");
    let ran = project.run(lint(&["--config", "mine", project.path("b.ipxe").as_str()]));
    assert!(!ran.stdout.contains("tap.linux") && ran.stdout.contains("`shell` is not in `ipxe.pxe`"), "{ran}");
    let error = project.run(lint(&["--config", "mine", "--for", "efi", project.path("a.ipxe").as_str()])).error(3);
    assert!(error.contains("hint: name one of `mine`"), "{error}");
}

fn a_build_stops_at_errors_and_shows_warnings() {
    let project = Project::new();
    project.write("embed-scripts/boot.ipxe", "#!ipxe\ndhcp --timeout 5\nchain --autofre ${root-path}\n");
    let error = project.build(&["--plan"]).error(3);
    let wanted =
        "embed-scripts/boot.ipxe:3: `chain` has no option `--autofre`, so it fails\n  hint: write `--autofree`\n";
    assert!(error.starts_with(wanted), "{error}");
    project.write("embed-scripts/boot.ipxe", "#!ipxe\ndhcp --timeout 5\nchain --autofree ${root-path}\n");
    let warned = project.build(&["--plan"]).warned().stderr;
    let wanted = "warning: embed-scripts/boot.ipxe:2: `--timeout 5` is 5 milliseconds, hardly more than an instant\n\
                  hint: write `--timeout 5000` for seconds\n";
    assert!(warned.contains(wanted), "{warned}");
    let silent = "#!ipxe\n# lint: allow time-unit a card that answers at once\ndhcp --timeout 5\nchain ${root-path}\n";
    project.write("embed-scripts/boot.ipxe", silent);
    project.build(&["--plan"]).success();
}

fn lines_with_secrets_are_not_shown() {
    let project = Project::cold();
    let key = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQ";
    for (text, secret) in [
        (
            format!("-----BEGIN PRIVATE KEY-----\n{key}\nS3CRETagAoIBAQ\nS3CRETag==\n-----END PRIVATE KEY-----\n"),
            "S3CRET",
        ),
        // As openssl writes keys with a passphrase traditionally.
        (
            format!(
                "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,0123456789ABCDEF\n\n{key}\n\
                 S3CRETag==\n-----END RSA PRIVATE KEY-----\n"
            ),
            "S3CRET",
        ),
        (format!("-----BEGIN PRIVATE KEY-----\n{key}\nS3CRETagAoIBAQ\necho a key\n"), "S3CRET"),
        (format!("-----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----\n"), &key[..20]),
        ("set net0/password \\\nS3CRET extra &&x\n".to_owned(), "S3CRET"),
        ("login --user u --password S3CRET &&x\n".to_owned(), "S3CRET"),
    ] {
        project.write("a.ipxe", &format!("#!ipxe\n{text}wget x\n"));
        let ran = project.run(lint(&[project.path("a.ipxe").as_str()]));
        assert!(ran.stdout.contains("error[unknown-command]: `wget` is not") || ran.stdout.contains("wget"), "{ran}");
        assert!(!ran.stdout.contains(secret), "{ran}");
    }
}

fn passwords_are_not_shown() {
    let project = Project::cold();
    let script = "#!ipxe\nchain http://admin:S3CRET@192.0.2.1/a ||\nchain htp://admin:S3CRET@192.0.2.1/a ||\n\
                  chain http:/bob:S3CRET@192.0.2.1/ ||\nimgfetch --bogus http://192.0.2.1/k?token=S3CRET12 ||\n\
                  chain bob:S3CRET@192.0.2.1/ ||\nset net0/password S3CRET ${x\nset password S3CRET&& boot\n\
                  set password S3\u{a0}S3CRET\nshell\n";
    let path = project.write("a.ipxe", script).path("a.ipxe");
    let sarif = project.path("out.sarif");
    for format in ["human", "json"] {
        let ran = project.run(lint(&["--message-format", format, path.as_str(), "--sarif", sarif.as_str()]));
        assert!(ran.stdout.contains("secret-in-script") && !ran.stdout.contains("S3CRET"), "{ran}");
        assert!(!ran.stderr.contains("S3CRET"), "{ran}");
    }
    assert!(!std::fs::read_to_string(&sarif).unwrap().contains("S3CRET"));
}

/// A script of the largest size, with a finding in each line, or of a shape in which each part could be compared with all
/// others.
fn a_long_script_is_checked_within_limits() {
    let project = Project::cold();
    let numbered = |count: usize, of: &dyn Fn(usize) -> String| (0..count).map(of).collect::<String>();
    let shapes = [
        format!("{}isset a\n{}shell\n", "isset a && ".repeat(20_000), "#\n".repeat(39_000)),
        numbered(19_000, &|at| format!("choose a{at} && goto ${{a{at}}}\n")) + ":x\n",
        format!("{}echo a{} x\n", "# lint: allow time-unit a\n".repeat(10_000), " \\\n".repeat(49_000)),
        "dhcp --timeout 5 || ".repeat(24_000),
        format!("goto {}\n:{}\n", "a".repeat(200_000), "a".repeat(199_999)),
        format!("kernel a {}\n{}boot\n", "initrd=b ".repeat(90_000), "initrd b\n".repeat(2000)),
        "echo \u{e9}\u{a0}".repeat(99_000),
        numbered(16_000, &|at| format!(":l{at}\nchain x || goto l{}\n", at * 7919 % 16_000)),
        // What a template makes, and names too short to be compared.
        numbered(40_000, &|at| format!(":a{at:05}{{{{x}}}}\n")) + &numbered(25_000, &|at| format!("goto b{at}\n")),
        numbered(40_000, &|at| format!(":{at:05}\n")) + &"goto a\n".repeat(29_000),
        // Keys that begin within others.
        format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n",
            "MC4CAQAwBQYDK2VwBCIEIJ9QMZsZ0Q3v6tq0vYwqYqzX8mB4u8dRrVQ0l3p7tE2a"
        )
        .repeat(20_000),
        // Long names in the message about each word.
        numbered(5, &|at| format!("imgfetch http://a/{at}{}\n", "x".repeat(250_000)))
            + &format!("kernel k {}\nboot\n", numbered(60_000, &|at| format!("initrd=b{at} "))),
    ];
    for shape in shapes {
        project.write("long.ipxe", &format!("#!ipxe\n{shape}"));
        let begun = Instant::now();
        let (path, sarif) = (project.path("long.ipxe"), project.path("long.sarif"));
        let ran = project.run_within_limits(&lint(&[path.as_str(), "--sarif", sarif.as_str()]));
        let shape: String = shape.chars().take(40).collect();
        assert!(ran.code == 0 || ran.code == 9, "{shape}: {}", ran.code);
        assert!(begun.elapsed() < Duration::from_secs(60), "{shape}: {:?}", begun.elapsed());
    }
    for line in [
        "x\n",
        ";\n",
        "dhcp\n",
        "\u{a0}\n",
        "{{a}}\n",
        "wget x\n",
        ":a\n",
        "goto b || goto b\n",
        "set x${y} z \\\n",
        "{{ a }} {% b %}\n",
        "${${${\n",
    ] {
        let words = line.split_ascii_whitespace().count();
        let text = ["#!ipxe\n".to_owned(), line.repeat(99_999 / words)].concat();
        project.write("long.ipxe", &text);
        let ran = project.run_within_limits(&lint(&[project.path("long.ipxe").as_str()]));
        assert!(ran.code == 0 || ran.code == 9, "{line}: {}", ran.code);
    }
}

fn words_as_long_as_a_script_are_shortened() {
    let project = Project::cold();
    let names = (0..5).map(|at| format!("imgfetch http://a/{at}{}\n", "x".repeat(250_000))).collect::<String>();
    let words = (0..2000).map(|at| format!(" initrd=b{at}")).collect::<String>();
    project.write("a.ipxe", &format!("#!ipxe\n{names}kernel k{words}\nboot\n"));
    project.write("b.ipxe", &"x".repeat(1_000_000));
    project.write("c.ipxe", &format!("#!ipxe\nchain htp://user:{}@host/a ||\nshell\n", "S3CRET".repeat(1_000)));
    let sarif = project.path("out.sarif");
    for name in ["a.ipxe", "b.ipxe", "c.ipxe"] {
        let path = project.path(name);
        for format in ["human", "json"] {
            let arguments = ["--message-format", format, "--sarif", sarif.as_str(), path.as_str()];
            let ran = project.run_within_limits(&lint(&arguments));
            let longest = ran.stdout.split('`').map(str::len).max().unwrap();
            assert!(ran.code == 9 && ran.stdout.len() < 4 << 20, "{name}: {} {}", ran.code, ran.stdout.len());
            assert!(format == "json" || longest < 3_000, "{name}: {longest}");
            assert!(!ran.stdout.contains("S3CRET") && !ran.stderr.contains("S3CRET"), "{name}");
        }
        assert!(!std::fs::read_to_string(&sarif).unwrap().contains("S3CRET"));
    }
}

/// Writes a folder of `count` scripts that are as long as a script may be, in the space of one.
fn large_scripts(project: &Project, count: usize) -> String {
    let folder = project.path("large");
    std::fs::create_dir(&folder).unwrap();
    project.write("large.ipxe", &"x".repeat(2_000_000));
    for number in 0..count {
        std::fs::hard_link(project.path("large.ipxe"), folder.join(format!("{number}.ipxe"))).unwrap();
    }
    folder.into_string()
}

fn many_scripts_are_checked_within_limits() {
    let project = Project::cold();
    let ran = project.run_within_limits(&lint(&[&large_scripts(&project, 130)]));
    assert!(ran.code == 9 && ran.stdout.len() < 2 << 20, "{} {}", ran.code, ran.stdout.len());
    // Findings alone, of characters that take six times as much in JSON.
    let gotos = (0..1000).map(|at| format!("dhcp && goto {}{at} ||\n", "\u{1b}".repeat(700))).collect::<String>();
    for number in 0..150 {
        project.write(&format!("many/{number}.ipxe"), &format!("#!ipxe\n# {number}\n{gotos}"));
    }
    let (folder, sarif) = (project.path("many"), project.path("out.sarif"));
    let arguments = ["--message-format", "json", "--sarif", sarif.as_str(), folder.as_str()];
    let ran = project.run_within_limits(&lint(&arguments));
    assert!(ran.code == 9 && ran.stdout.contains("\"errors\":150000,"), "{}", &ran.stdout[ran.stdout.len() - 500..]);
    let wanted = "found more than 10000 findings, or 4194304 bytes of them: the others are only counted";
    let ran = project.run_within_limits(&lint(&[folder.as_str()]));
    assert!(ran.stderr.contains(wanted) && ran.stdout.contains("and 149800 more findings"), "{}", ran.stderr);
    assert!(ran.stdout.ends_with("150 scripts: 150000 errors, 0 warnings, 0 notes\n"), "{}", ran.stderr);
}

fn a_check_of_many_scripts_can_be_interrupted() {
    let project = Project::cold();
    let begun = Instant::now();
    let mut command = project.command(lint(&[&large_scripts(&project, 2_000)]));
    let measured = limits::interrupt(&mut command, |_| begun.elapsed() > Duration::from_secs(2));
    assert!(measured.assert_memory_limit().stderr.ends_with("error: interrupted\n"));
}
