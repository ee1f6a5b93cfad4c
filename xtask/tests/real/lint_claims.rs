//! What the linter says of iPXE is what iPXE does: the examples of its rules, and faults that it found in published scripts,
//! are rehearsed.

use std::process::Output;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use camino::{Utf8Path, Utf8PathBuf};
use netboot_fixtures::real::{Real, sources};
use netboot_script::{LintTarget, ParsedScript, Rule, Templates, lint};

netboot_fixtures::tests! {
    with rehearsals;
    rules,
    further_claims,
    published_scripts,
}

/// Returns the project with the real sources, or the reason why nothing can be rehearsed.
fn rehearsals() -> Result<&'static Real, String> {
    netboot_fixtures::skip::networks()?;
    sources()
}

/// How a script is rehearsed, and what comes of it.
#[derive(Clone, Copy)]
struct Trial {
    /// Options of `rehearse`; answers are files in [`FILES`].
    options: &'static str,
    /// Whether the script is loaded by [`LOADER`].
    loaded: bool,
    failing: Shown,
    passing: Shown,
}

/// Lines of a recorded way in their order, the last one being its end. Those with `*` at their end begin so; those with `!`
/// at their beginning are nowhere in it.
type Shown = &'static [&'static str];

/// Whether and how a rehearsal shows what a rule says.
enum Claim {
    Rehearsed(Trial),
    /// The reason why it does not.
    NotShown(&'static str),
}

/// Files that web servers have.
const FILES: &[(&str, &str)] =
    &[("loader.ipxe", LOADER), ("shell.ipxe", "#!ipxe\nshell\n"), ("comment.ipxe", "#!ipxe\n# Nothing\n")];

/// A script that loads the one that is rehearsed.
const LOADER: &str = "#!ipxe\ndhcp\nchain http://192.0.2.1/example.ipxe\n";

const FAILS: &str = "fails, and returns to the firmware";
const RETURNS: &str = "returns to the firmware";
const SHELL: &str = "opens a shell";

const fn shown(options: &'static str, failing: Shown, passing: Shown) -> Claim {
    Claim::Rehearsed(Trial { options, loaded: false, failing, passing })
}

/// The same for a script that another one loads from a server.
const fn loaded(options: &'static str, failing: Shown, passing: Shown) -> Claim {
    Claim::Rehearsed(Trial { options, loaded: true, failing, passing })
}

/// What the rule claims. The set is closed: a new rule has to be in it.
#[expect(clippy::too_many_lines, reason = "a table")]
fn claim(rule: Rule) -> Claim {
    match rule {
        Rule::NotAScript => loaded(
            "",
            &["GET http://192.0.2.1/example.ipxe: 200*", "failed: Exec format error", "!shell", FAILS],
            &["GET http://192.0.2.1/example.ipxe: 200*", "shell", SHELL],
        ),
        Rule::NulByte => shown("", &["echo one", RETURNS], &["echo one two", RETURNS]),
        Rule::TrailingBackslash => loaded(
            "--answer http://192.0.2.1/vmlinuz=stand-in",
            &["GET http://192.0.2.1/example.ipxe: 200*", "failed: Invalid argument", FAILS],
            &["kernel http://192.0.2.1/vmlinuz console=ttyS0", "kernel vmlinuz,*", "boots vmlinuz"],
        ),
        Rule::TooManyWords => Claim::NotShown("iPXE for Linux has a stack of megabytes, unlike BIOS"),
        Rule::UnclosedTemplate => Claim::NotShown("a template engine refuses it, and iPXE never sees it"),
        Rule::UnknownCommand => loaded(
            "--answer http://192.0.2.1/a.ipxe=shell.ipxe",
            &["wget: command not found", FAILS],
            &["GET http://192.0.2.1/a.ipxe: 200*", "shell", SHELL],
        ),
        Rule::UnknownOption => {
            shown("", &["echo -----", "failed: *", FAILS], &["echo -- -----", "!failed: *", RETURNS])
        }
        Rule::OptionWithoutValue => shown(
            "--keys ctrl-b",
            &["prompt --timeout --key 0x02 Press Ctrl-B", "failed: *", "!keys: *", RETURNS],
            &["prompt --key 0x02 --timeout=5000 Press Ctrl-B", "keys: ctrl-b", RETURNS],
        ),
        Rule::WrongArguments | Rule::Quotes => shown("", &["!shell", RETURNS], &["shell", SHELL]),
        Rule::MissingLabel => shown(
            "--fault no-dhcp",
            &["goto fail", "failed: No such file or directory", "!shell", FAILS],
            &["goto failed", "shell", SHELL],
        ),
        Rule::BadAddress => loaded(
            "--answer http://192.0.2.1/a%20b.ipxe=shell.ipxe",
            &["chain http:/192.0.2.1/a.ipxe", "!GET http://192.0.2.1/a.ipxe*", "failed: *", FAILS],
            &["GET http://192.0.2.1/a%20b.ipxe: 200*", "shell", SHELL],
        ),
        Rule::MissingFeature => loaded(
            "--answer http://192.0.2.1/a.ipxe=shell.ipxe",
            &["ping: command not found", "failed: *", FAILS],
            &["GET http://192.0.2.1/a.ipxe: 200*", "shell", SHELL],
        ),
        Rule::VersionDifference => Claim::NotShown("rehearsals run one version, the pinned one"),
        Rule::TimeUnit => shown(
            "--keys x",
            &["prompt --timeout 5 *", "no key was pressed", "!shell", RETURNS],
            &["prompt --timeout 5000 *", "keys: x", "shell", SHELL],
        ),
        Rule::LateOption => loaded(
            "--answer http://192.0.2.1/a.ipxe=stand-in",
            &["kernel a.ipxe, 37 bytes: --autofree", "boots a.ipxe"],
            &["kernel a.ipxe, 37 bytes", "boots a.ipxe"],
        ),
        Rule::GluedOperator => shown(
            "",
            &["dhcp net0&& goto found", "failed: *", "!goto found", "shell", SHELL],
            &["dhcp net0", "goto found", "shell", SHELL],
        ),
        Rule::CommandAsArgument => shown(
            "--fault no-dhcp",
            &["dhcp net0 shell", "failed: *", "!shell", FAILS],
            &["dhcp net0", "failed: *", "shell", SHELL],
        ),
        Rule::CommentInsideLine => shown("", &["echo Rack", RETURNS], &["echo Rack 1", RETURNS]),
        Rule::InvisibleCharacter => shown("", &["echo", RETURNS], &["echo b", RETURNS]),
        Rule::UnclosedSetting => shown("", &["echo ${net0/mac", RETURNS], &["echo 52:54:00:*", RETURNS]),
        Rule::SettingType => loaded(
            "",
            &["chain http://192.0.2.1/.ipxe", "failed: *", FAILS],
            &["chain http://192.0.2.1/52-54-00-*", "failed: *", FAILS],
        ),
        Rule::MisspeltSetting => shown("", &["dhcp", "echo", RETURNS], &["dhcp", "echo 192.0.2.1", RETURNS]),
        Rule::UnsetSetting => shown("", &["echo", RETURNS], &["echo 5000", RETURNS]),
        Rule::ChainOfSetting => shown(
            "--loader undionly.kpxe",
            &["chain undionly.kpxe", "TFTP undionly.kpxe: sent", "loads itself again"],
            &["dhcp", "!chain *", "shell", SHELL],
        ),
        Rule::DuplicateLabel => shown("", &["goto a", "echo first", RETURNS], &["goto b", "echo second", RETURNS]),
        Rule::UnusedLabel => shown(
            "--fault no-dhcp",
            &["dhcp", "failed: *", "!echo failed", "shell", SHELL],
            &["dhcp", "failed: *", "goto failed", "echo failed", "shell", SHELL],
        ),
        Rule::ItemWithoutLabel => shown(
            "--keys enter",
            &["chosen: disk", "goto disk", "failed: No such file or directory", FAILS],
            &["chosen: disk", "goto disk", "exit", RETURNS],
        ),
        Rule::UnreachableCode => shown("", &["goto end", "!echo never", "shell", SHELL], &["goto end", "shell", SHELL]),
        Rule::FallThrough => {
            shown("", &["echo done", "echo failed", "shell", SHELL], &["echo done", "exit", "!echo failed", RETURNS])
        }
        Rule::EndlessLoop => loaded(
            "",
            &["chain http://192.0.2.1/a.ipxe", "failed: *", "!sleep *", "goto retry", "goes round in circles: *"],
            &["sleep 5", "chain http://192.0.2.1/a.ipxe", "failed: *", "goto retry", "sleep 5", "goes round*"],
        ),
        Rule::ConditionEndsScript => shown("", &["!dhcp *", "!shell", FAILS], &["!dhcp *", "shell", SHELL]),
        Rule::UnhandledFailure => loaded(
            "--answer http://192.0.2.2/a.ipxe=shell.ipxe",
            &["chain http://192.0.2.1/a.ipxe", "failed: *", "!chain http://192.0.2.2/a.ipxe", FAILS],
            &["chain http://192.0.2.1/a.ipxe", "failed: *", "chain http://192.0.2.2/a.ipxe", "shell", SHELL],
        ),
        Rule::RunsEitherWay => shown(
            "",
            &["dhcp", "!failed: *", "!echo failed", "goto start", "dhcp", "goes round in circles: goto start"],
            &["dhcp", "!goto *", "shell", SHELL],
        ),
        Rule::InitrdArgument => loaded(
            "--answer http://192.0.2.1/vmlinuz=stand-in --answer http://192.0.2.1/initrd.img=stand-in",
            &["kernel vmlinuz, 38 bytes: initrd=initrd.gz", "initrd initrd.img, *", "boots vmlinuz"],
            &["kernel vmlinuz, 38 bytes: initrd=initrd.img", "initrd initrd.img, *", "boots vmlinuz"],
        ),
        Rule::ImagesLeft => loaded(
            "--answer http://192.0.2.1/vmlinuz=stand-in --answer http://192.0.2.2/vmlinuz=stand-in \
             --answer http://192.0.2.2/a=stand-in",
            &["GET http://192.0.2.1/a: 404", "boot", "initrd vmlinuz, *", "initrd a, *", "boots vmlinuz"],
            &["GET http://192.0.2.1/a: 404", "boot", "!initrd vmlinuz, *", "initrd a, *", "boots vmlinuz"],
        ),
        Rule::SecretInScript => Claim::NotShown("what others read is nothing that iPXE does"),
        Rule::LintComment => Claim::NotShown("it is about the linter itself"),
    }
}

/// Further claims in the texts of rules: rule, options, whether the script is loaded, the script, and what comes of it.
const FURTHER: &[(&str, &str, bool, &str, Shown)] = &[
    (
        "not-a-script, in BIOS",
        "--loader undionly.kpxe",
        true,
        "\u{feff}#!ipxe\nshell\n",
        &["GET http://192.0.2.1/example.ipxe: 200*", "!shell", "boots example.ipxe"],
    ),
    (
        "not-a-script, without a line break",
        "",
        true,
        "#!ipxe",
        &["GET http://192.0.2.1/example.ipxe: 200*", "failed: Exec format error", FAILS],
    ),
    (
        "not-a-script, carriage returns",
        "",
        true,
        "#!ipxe\rshell\r",
        &["GET http://192.0.2.1/example.ipxe: 200*", "!shell", RETURNS],
    ),
    ("not-a-script, gPXE", "", false, "#!gpxe\nshell\n", &["shell", SHELL]),
    ("invisible-character, a carriage return", "", false, "#!ipxe\necho a\recho b\n", &["echo a echo b", RETURNS]),
    (
        "wrong-arguments, no number",
        "",
        false,
        "#!ipxe\nexit nope || sleep 5s || inc i x || cpuid --ext nx || echo here\nexit\n",
        &[
            "exit nope",
            "failed: Invalid argument",
            "sleep 5s",
            "failed: Invalid argument",
            "inc i x",
            "failed: Invalid argument",
            "echo here",
            "exit",
            RETURNS,
        ],
    ),
    (
        "unhandled-failure, nothing selected",
        "",
        false,
        "#!ipxe\nboot\necho here\n",
        &["boot", "No image selected", "echo here", RETURNS],
    ),
    ("trailing-backslash, embedded", "", false, "#!ipxe\necho a \\", &["echo a", RETURNS]),
    ("unknown-command, case", "", false, "#!ipxe\nECHO a\n", &["ECHO: command not found", FAILS]),
    ("option-without-value, too many", "", false, "#!ipxe\necho --n=1 a\n", &["echo --n=1 a", "failed: *", FAILS]),
    (
        "option-without-value, no number",
        "--keys x",
        false,
        "#!ipxe\nprompt --timeout 5s a\n",
        &["prompt --timeout 5s a", "failed: *", "!keys: *", FAILS],
    ),
    ("wrong-arguments", "", false, "#!ipxe\nset a b c\niseq ${a} ${a} && shell\n", &["shell", SHELL]),
    (
        "missing-label, with a colon",
        "",
        false,
        "#!ipxe\ngoto :a\n:a\n",
        &["goto :a", "failed: No such file or directory", FAILS],
    ),
    (
        "bad-address, an umlaut",
        "",
        true,
        "#!ipxe\nchain http://192.0.2.1/\u{fc}.ipxe\n",
        &["GET http://192.0.2.1/%FFFFFFC3%FFFFFFBC.ipxe: 404", "failed: *", FAILS],
    ),
    (
        "bad-address, without a scheme",
        "",
        true,
        "#!ipxe\nchain 192.0.2.2/a.ipxe\n",
        &["GET http://192.0.2.1/192.0.2.2/a.ipxe: 404", "failed: *", FAILS],
    ),
    (
        "quotes, around an address",
        "--answer http://192.0.2.1/a.ipxe=shell.ipxe",
        true,
        "#!ipxe\nchain \"http://192.0.2.1/a.ipxe\"\n",
        &["chain \"http://192.0.2.1/a.ipxe\"", "failed: *", FAILS],
    ),
    (
        "setting-type, counted",
        "",
        false,
        "#!ipxe\nset i 0\ninc i || echo text\nset j:int32 0\ninc j && echo ${j}\n",
        &["inc i", "failed: Operation not supported", "echo text", "echo 1", RETURNS],
    ),
    (
        "initrd-argument, a blank",
        "--answer http://192.0.2.1/k=stand-in --answer http://192.0.2.1/i%20b=stand-in",
        true,
        "#!ipxe\nkernel http://192.0.2.1/k initrd=i%20b\ninitrd http://192.0.2.1/i%20b\nboot\n",
        &["kernel k, *", "initrd i b, *", "boots k"],
    ),
    ("setting-type, set", "", false, "#!ipxe\nset a:text b || shell\n", &["shell", SHELL]),
    (
        "chain-of-setting, empty",
        "",
        true,
        "#!ipxe\nchain ${nothing}\n",
        &["chain", "GET http://192.0.2.1/example.ipxe: 200*", "chain", "goes round in circles: chain"],
    ),
    (
        "images-left, scripts",
        "--answer http://192.0.2.1/a.ipxe=comment.ipxe --answer http://192.0.2.1/vmlinuz=stand-in",
        true,
        "#!ipxe\nchain http://192.0.2.1/a.ipxe\nkernel http://192.0.2.1/vmlinuz\nboot\n",
        &["boot", "initrd a.ipxe, *", "boots vmlinuz"],
    ),
];

/// A fault that the linter found in a script of another project, in a script of our own that has little else.
struct Published {
    name: &'static str,
    /// The rules that find the fault.
    rules: &'static [Rule],
    failing: &'static str,
    passing: &'static str,
    trial: Trial,
}

const PUBLISHED: &[Published] = &[
    // `openstack/ironic`, `ironic/drivers/modules/boot.ipxe`: `| goto` are arguments of the image, which is never looked
    // for; without the jump, the script ends before the message.
    Published {
        name: "ironic: a single bar",
        rules: &[Rule::GluedOperator],
        failing: "#!ipxe\nchain http://192.0.2.1/fallback | goto boot_failed\n:boot_failed\necho PXE boot failed!\nreboot\n",
        passing: "#!ipxe\nchain http://192.0.2.1/fallback || goto boot_failed\n:boot_failed\necho PXE boot failed!\nreboot\n",
        trial: Trial {
            options: "",
            loaded: true,
            failing: &[
                "chain http://192.0.2.1/fallback | goto boot_failed",
                "failed: *",
                "!goto boot_failed",
                "!echo PXE boot failed!",
                FAILS,
            ],
            passing: &["failed: *", "goto boot_failed", "echo PXE boot failed!", "reboot", "restarts the machine"],
        },
    },
    Published {
        name: "ironic: arguments of the image",
        rules: &[Rule::GluedOperator],
        failing: "#!ipxe\nchain http://192.0.2.1/fallback | goto boot_failed\n:boot_failed\nreboot\n",
        passing: "#!ipxe\nchain http://192.0.2.1/fallback || goto boot_failed\n:boot_failed\nreboot\n",
        trial: Trial {
            options: "--answer http://192.0.2.1/fallback=stand-in",
            loaded: true,
            failing: &["kernel fallback, 39 bytes: | goto boot_failed", "boots fallback"],
            passing: &["kernel fallback, 39 bytes", "boots fallback"],
        },
    },
    // The same script: nobody presses a key within 180 ms, so the prompt fails, and the script ends before `reboot`.
    Published {
        name: "ironic: milliseconds",
        rules: &[Rule::TimeUnit, Rule::ConditionEndsScript],
        failing: "#!ipxe\necho Press any key to reboot...\nprompt --timeout 180\nreboot\n",
        passing: "#!ipxe\necho Press any key to reboot...\nprompt --timeout 180000 ||\nreboot\n",
        trial: Trial {
            options: "--keys x",
            loaded: false,
            failing: &["prompt --timeout 180", "no key was pressed", "!reboot", FAILS],
            passing: &["prompt --timeout 180000", "keys: x", "reboot", "restarts the machine"],
        },
    },
    // `warewulf/warewulf`, `etc/ipxe/localdisk.ipxe`: a label is no command, and no `goto` finds it.
    Published {
        name: "warewulf: a colon behind the label",
        rules: &[Rule::UnknownCommand, Rule::MissingLabel],
        failing: "#!ipxe\niseq ${platform} pcbios || goto failsafe\nfailsafe:\necho Falling through\nexit 1\n",
        passing: "#!ipxe\niseq ${platform} pcbios || goto failsafe\n:failsafe\necho Falling through\nexit 1\n",
        trial: Trial {
            options: "",
            loaded: false,
            failing: &["goto failsafe", "failed: No such file or directory", "!echo *", FAILS],
            passing: &["goto failsafe", "echo Falling through", "exit 1", RETURNS],
        },
    },
    Published {
        name: "warewulf: a label as a command",
        rules: &[Rule::UnknownCommand, Rule::MissingLabel],
        failing: "#!ipxe\niseq ${platform} efi || goto failsafe\nfailsafe:\necho Falling through\nexit 1\n",
        passing: "#!ipxe\niseq ${platform} efi || goto failsafe\n:failsafe\necho Falling through\nexit 1\n",
        trial: Trial {
            options: "",
            loaded: false,
            failing: &["failsafe:: command not found", "!echo *", FAILS],
            passing: &["echo Falling through", "exit 1", RETURNS],
        },
    },
    // `etc/ipxe/default.ipxe` of the same project.
    Published {
        name: "warewulf: no label",
        rules: &[Rule::MissingLabel],
        failing: "#!ipxe\nkernel --name kernel http://192.0.2.1/kernel || goto reboot\nboot\n:error\nsleep 15\nreboot\n",
        passing: "#!ipxe\nkernel --name kernel http://192.0.2.1/kernel || goto reboot\nboot\n:reboot\nsleep 15\nreboot\n",
        trial: Trial {
            options: "",
            loaded: true,
            failing: &["failed: *", "goto reboot", "failed: No such file or directory", "!reboot", FAILS],
            passing: &["failed: *", "goto reboot", "sleep 15", "reboot", "restarts the machine"],
        },
    },
    // `netbootxyz/netboot.xyz`, `roles/netbootxyz/templates/disks/netboot.xyz.j2`: the part for a network that DHCP did not
    // configure runs after DHCP has done that.
    Published {
        name: "netboot.xyz: the jump is taken either way",
        rules: &[Rule::RunsEitherWay],
        failing: "#!ipxe\nifconf --configurator dhcp net0 || echo DHCP failed trying manual && goto manual\n\
            echo Attempting chainload\nexit\n:manual\necho -n IP: && read net0/ip\n",
        passing: "#!ipxe\nifconf --configurator dhcp net0 || goto manual\n\
            echo Attempting chainload\nexit\n:manual\necho -n IP: && read net0/ip\n",
        trial: Trial {
            options: "",
            loaded: false,
            failing: &[
                "ifconf --configurator dhcp net0",
                "DHCP: *",
                "!failed: *",
                "!echo DHCP failed trying manual",
                "goto manual",
                "read net0/ip",
                "waits for a key without end: read net0/ip",
            ],
            passing: &["DHCP: *", "!goto manual", "echo Attempting chainload", "exit", RETURNS],
        },
    },
];

/// A script to rehearse.
struct Example {
    name: String,
    script: &'static str,
    options: &'static str,
    loaded: bool,
    shown: Shown,
}

impl Trial {
    fn examples(self, name: &str, failing: &'static str, passing: &'static str) -> [Example; 2] {
        let Self { options, loaded, .. } = self;
        [("failing", failing, self.failing), ("passing", passing, self.passing)].map(|(which, script, shown)| Example {
            name: format!("{name}, {which}"),
            script,
            options,
            loaded,
            shown,
        })
    }
}

/// Each rule says of its examples what iPXE does with them.
fn rules(real: &Real) {
    let mut examples = Vec::new();
    for rule in Rule::ALL {
        match claim(*rule) {
            Claim::Rehearsed(trial) => {
                examples.extend(trial.examples(rule.id(), rule.text().failing, rule.text().passing));
            }
            Claim::NotShown(reason) => assert!(!reason.is_empty()),
        }
    }
    rehearse(real, &examples);
}

/// What the texts of rules say beside that.
fn further_claims(real: &Real) {
    let example =
        |(name, options, loaded, script, shown)| Example { name: String::from(name), script, options, loaded, shown };
    rehearse(real, &FURTHER.iter().copied().map(example).collect::<Vec<_>>());
}

/// What the linter found in scripts of other projects goes wrong there.
fn published_scripts(real: &Real) {
    let mut examples = Vec::new();
    for Published { name, rules, failing, passing, trial } in PUBLISHED {
        let found = |text: &str| {
            let findings = lint(&ParsedScript::parse(text, Templates::Opaque), &LintTarget::default()).findings;
            findings.iter().map(|finding| finding.rule).collect::<Vec<_>>()
        };
        let (in_failing, in_passing) = (found(failing), found(passing));
        for rule in *rules {
            assert!(in_failing.contains(rule) && !in_passing.contains(rule), "{name}: {in_failing:?} {in_passing:?}");
        }
        examples.extend(trial.examples(name, failing, passing));
    }
    rehearse(real, &examples);
}

/// Rehearses the examples two at a time, and fails with all that do not show what they have to.
fn rehearse(real: &Real, examples: &[Example]) {
    real.sites("[default]\nloaders = [\"undionly.kpxe\", \"ipxe.efi\"]\nscript = \"root-path.ipxe\"\n");
    let folder = tempfile::tempdir().unwrap();
    let folder = Utf8Path::from_path(folder.path()).unwrap();
    for (name, text) in FILES {
        std::fs::write(folder.join(name), text).unwrap();
    }
    let Some((first, others)) = examples.split_first() else { return };
    // The first one builds the programs.
    let differences = Mutex::new(Vec::from_iter(difference(real, folder, 0, first)));
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let number = next.fetch_add(1, Ordering::Relaxed)
                    && let Some(example) = others.get(number)
                {
                    let found = difference(real, folder, number + 1, example);
                    differences.lock().unwrap().extend(found);
                }
            });
        }
    });
    let differences = differences.into_inner().unwrap();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Rehearses an example, and returns its way if that is not what it has to show.
fn difference(real: &Real, folder: &Utf8Path, number: usize, example: &Example) -> Option<String> {
    let [script, record] = ["ipxe", "txt"].map(|end| folder.join(format!("{number}.{end}")));
    std::fs::write(&script, example.script).unwrap();
    let Output { stdout, stderr, .. } = run(real, folder, [&script, &record], example);
    let stderr = String::from_utf8_lossy(&stderr);
    let Ok(way) = std::fs::read_to_string(&record) else {
        return Some(format!("{}: no rehearsal\n{}{stderr}", example.name, String::from_utf8_lossy(&stdout)));
    };
    let lines: Vec<&str> = way.lines().filter(|line| !line.starts_with("# ")).map(str::trim_start).collect();
    let wrong = missing(&lines, example.shown)?;
    Some(format!("{}: `{wrong}` is not so\n{way}", example.name))
}

fn run(real: &Real, folder: &Utf8Path, [script, record]: [&Utf8PathBuf; 2], example: &Example) -> Output {
    let mut command = real.command(&["rehearse", "--offline", "--ipxe-url", real.sources.ipxe_git().as_str()]);
    command.args(Real::compiled_once()).current_dir(folder).args(["--record", record.as_str()]);
    if example.loaded {
        command.args(["--script", "loader.ipxe", "--answer"]).arg(format!("http://192.0.2.1/example.ipxe={script}"));
    } else {
        command.args(["--script", script.as_str()]);
    }
    if !example.options.contains("--loader") {
        command.args(["--loader", "ipxe.efi"]);
    }
    command.args(example.options.split_ascii_whitespace()).output().unwrap()
}

/// Returns the first line of `shown` that is not so of the lines of a way.
fn missing<'s>(lines: &[&str], shown: &[&'s str]) -> Option<&'s str> {
    let matches = |line: &str, wanted: &str| match wanted.strip_suffix('*') {
        Some(start) => line.starts_with(start),
        None => line == wanted,
    };
    let mut rest = lines.iter();
    for wanted in shown {
        let is_so = match wanted.strip_prefix('!') {
            Some(unwanted) => !lines.iter().any(|line| matches(line, unwanted)),
            None => rest.any(|line| matches(line, wanted)),
        };
        if !is_so {
            return Some(wanted);
        }
    }
    // The last one is the end.
    let last = shown.last()?;
    (!lines.last().is_some_and(|line| matches(line, last))).then_some(*last)
}
