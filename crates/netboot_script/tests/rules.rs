//! Mistakes of each rule beside its example, and what looks like one and is none.

use std::sync::Arc;

use netboot_script::{BuildContents, Finding, IpxeRelease, LintTarget, ParsedScript, Rule, ScriptPlatform, Severity};
use netboot_script::{Templates, lint};

fn findings(body: &str, target: &LintTarget) -> Vec<Finding> {
    let text = if body.contains("#!ipxe") { body.to_owned() } else { format!("#!ipxe\n{body}\n") };
    lint(&ParsedScript::parse(&text, Templates::Opaque), target).findings
}

/// Describes the findings of `rule`: severity, line and column.
#[track_caller]
fn expect(rule: Rule, target: &LintTarget, body: &str, wanted: &[(Severity, usize, usize)]) {
    let all = findings(body, target);
    let found: Vec<_> = all.iter().filter(|finding| finding.rule == rule).collect();
    let places: Vec<_> = found.iter().map(|finding| (finding.severity, finding.line, finding.column)).collect();
    assert_eq!(places, wanted, "{rule}: {body}\n{all:?}");
}

/// Checks that `rule` finds nothing in `bodies`.
#[track_caller]
fn accepts(rule: Rule, bodies: &[&str]) {
    for body in bodies {
        expect(rule, &LintTarget::default(), body, &[]);
    }
}

/// Checks that `rule` finds something at the mark `^` of each body, which is not part of it.
#[track_caller]
fn finds(rule: Rule, severity: Severity, bodies: &[&str]) {
    for body in bodies {
        let at = body.find('^').unwrap();
        let line = body[..at].matches('\n').count() + 2;
        let column = body[..at].rsplit('\n').next().unwrap().chars().count() + 1;
        expect(rule, &LintTarget::default(), &body.replacen('^', "", 1), &[(severity, line, column)]);
    }
}

use Severity::{Error, Note, Warning};

#[test]
fn beginnings() {
    for (text, severity) in [
        (" #!ipxe\nshell\n", Error),
        ("\n#!ipxe\nshell\n", Error),
        ("\u{feff}#!ipxe\n", Error),
        ("#!ipxeshell\n", Error),
        ("#!ipxe", Error),
    ] {
        expect(Rule::NotAScript, &LintTarget::default(), text, &[(severity, 1, 1)]);
    }
    // Lines that end in carriage returns alone are part of the first one, which is a comment.
    for text in ["#!ipxe\rshell\r", "#!gpxe\rshell\r#!ipxe", "#!ipxe\rshell\nshell\n"] {
        expect(Rule::NotAScript, &LintTarget::default(), text, &[(Error, 1, 7)]);
    }
    for text in [
        "#!ipxe\n",
        "#!ipxe\r\nshell\r\n",
        "#!ipxe \n",
        "#!gpxe # #!ipxe\n",
        "{% if a %}\n#!ipxe\n",
        "{# b #}\n\n#!ipxe\n",
    ] {
        expect(Rule::NotAScript, &LintTarget::default(), text, &[]);
    }
    let part = ParsedScript::parse("shell\n", Templates::Opaque);
    assert_eq!(lint(&part, &LintTarget::default()).findings[0].severity, Warning);
    let template = ParsedScript::parse("shell {{ a }}\n", Templates::Opaque);
    assert_eq!(lint(&template, &LintTarget::default()).findings[0].severity, Note);
    let read = ParsedScript::parse("shell\n", Templates::None);
    assert_eq!(lint(&read, &LintTarget::default()).findings[0].severity, Error);
}

#[test]
fn commands_and_options() {
    finds(Rule::UnknownCommand, Error, &["^dhpc", "dhcp && ^goot a", ":a ^x", "^Chain x", "^a:"]);
    finds(Rule::UnknownCommand, Warning, &["kernel a {% if b %} || ^wget c {% endif %}"]);
    accepts(
        Rule::UnknownCommand,
        &["${cmd} a", "{{ cmd }} a", "# wget", "", ":a", "kernel a\n{{- range .B }} quiet {{ . }}{{ end }}"],
    );
    finds(
        Rule::UnknownOption,
        Error,
        &["echo ^---", "echo ^-", "item --gap ^----- x", "chain ^--autofre x", "sanhook ^--keep x", "prompt ^-x y"],
    );
    accepts(
        Rule::UnknownOption,
        &[
            "echo -- ---",
            "item --gap -- ---",
            "echo a ---",
            "inc x -1",
            "kernel a --- b",
            "help --x",
            "chain --help",
            "chain ${x} --y",
        ],
    );
    finds(
        Rule::OptionWithoutValue,
        Error,
        &[
            "chain ^--name",
            "chain ^--name --replace a",
            "chain ^--autofree=1 a",
            "prompt --timeout ^5s a",
            "dhcp --timeout=^http://x",
            "prompt --key ^ab",
            "chain --timeout ^http://a/${b}",
        ],
    );
    accepts(
        Rule::OptionWithoutValue,
        &[
            "prompt --key x --timeout=5000 a",
            "prompt --key 0x102 a",
            "chain --timeout ${t} a",
            "console --x 0x400",
            "chain --timeout 99999999999999999999 a",
            "chain -t100 a",
        ],
    );
    finds(
        Rule::WrongArguments,
        Error,
        &[
            "^isset",
            "isset ^a b",
            "iseq ^a",
            "goto ^a b\n:a",
            "sleep ^1 2",
            "exit ^1 2",
            "^set",
            "shell ^now",
            "choose ^a b",
            "exit ^abc",
            "sleep ^5s",
            "inc i ^x",
            "inc i ^1x${a}",
            "cpuid --ext ^nx",
        ],
    );
    accepts(Rule::WrongArguments, &["exit 0x10", "inc i -1", "sleep ${a}", "exit 1${a}", "sleep {{ a }}", "inc abc"]);
    accepts(Rule::WrongArguments, &["iseq {{ a }}", "exit", "set a", "isset ${a} # b", "time dhcp net0"]);
    finds(
        Rule::LateOption,
        Warning,
        &["chain a ^--replace", "kernel a ^--name b", "dhcp net0 ^--timeout 5000", "item a ^--gap"],
    );
    accepts(Rule::LateOption, &["kernel a --- quiet --foo", "echo a --name", "set a --timeout"]);
    finds(
        Rule::TimeUnit,
        Warning,
        &["dhcp --timeout ^5", "prompt --timeout ^180 a", "choose --timeout=^30 a", "sleep ^5000"],
    );
    accepts(
        Rule::TimeUnit,
        &[
            "choose --timeout 0 a",
            "dhcp --timeout 100",
            "read --timeout 400 a",
            "sleep 60",
            "ping --count 5 a",
            "prompt --timeout ${t}",
        ],
    );
}

#[test]
fn characters_that_look_like_others() {
    finds(
        Rule::InvisibleCharacter,
        Warning,
        &[
            "set a ^b\u{a0}c",
            "echo a ^\u{200b}b",
            "set a ^\u{201c}b\u{201d}",
            "dhcp ^\u{2013}timeout",
            "echo ^a\u{202e}b",
            "echo ^a\u{2028}b",
            "set a ^b\u{2003}c",
            "set a ^\u{3164}",
            "echo ^a\u{7f}",
        ],
    );
    accepts(Rule::InvisibleCharacter, &["echo für Zürich \u{2013} eins", "# \u{a0}", "set a ä", "echo \u{1b}[1m"]);
    finds(Rule::InvisibleCharacter, Warning, &["echo a^\recho b", "# a^\recho b\nshell", "echo a \\\r\n b^\rc\r"]);
    accepts(Rule::InvisibleCharacter, &["echo a\r\necho b\r", "echo a\r\r\n\r\nshell", "echo a \r "]);
}

#[test]
fn operators_and_words() {
    finds(
        Rule::GluedOperator,
        Warning,
        &[
            "dhcp ^net0&& goto a\n:a",
            "chain x ^||shell",
            "ifopen ^net0; dhcp",
            "chain x ^| goto a\n:a",
            "prompt a ^b&& shell",
            "dhcp ^& shell",
        ],
    );
    accepts(
        Rule::GluedOperator,
        &[
            "kernel x a=b&&c ds=nocloud;s=http://d/",
            "echo a&& b",
            "chain http://a/?b&&c",
            "set x 32-bit; 33 MHz",
            "echo a | b",
        ],
    );
    finds(
        Rule::CommandAsArgument,
        Warning,
        &[
            "dhcp ^goto a\n:a",
            "dhcp net0 ^shell",
            "chain a ^goto b\n:b",
            "chain a ^echo b",
            "imgfree ^kernel a",
            "set a b ^goto c\n:c",
        ],
    );
    accepts(
        Rule::CommandAsArgument,
        &[
            "echo Pick where to goto next",
            "kernel a shell reboot=k",
            "kernel a exit",
            "dhcp net0 || shell",
            "chain a.efi shell.efi",
        ],
    );
    finds(
        Rule::Quotes,
        Warning,
        &["isset ^\"${a}\"", "iseq ^\"${a}\" b", "chain ^\"http://a/b\"", "set a ^\"b c\"", "chain --name ^\"a b\""],
    );
    finds(Rule::Quotes, Note, &["echo ^\"a b\"", "item a ^\"b\""]);
    accepts(
        Rule::Quotes,
        &["iseq \"${a}\" \"\"", "kernel a b=\"c d\"", "echo Type \"exit\" to leave", "set a b \"c\" d", "echo it's"],
    );
    finds(
        Rule::CommentInsideLine,
        Warning,
        &["echo Rack ^#1", "item a Disk ^#2 b", "chain a ^# b || shell", "set a Port ^#3"],
    );
    accepts(
        Rule::CommentInsideLine,
        &[
            "echo a # b",
            "chain a #b",
            "chain a#b",
            "# a || b",
            "set a b #note",
            "item a b  #note",
            "echo b\t#note",
            "dhcp || # a",
        ],
    );
    finds(Rule::UnclosedSetting, Warning, &["echo ^${a", "set a ^${net0/ip b}", "chain ^http://a/${b/${c}"]);
    accepts(Rule::UnclosedSetting, &["echo }", "echo ${a}}", "echo $a {b}", "set a ${${b}/ip}"]);
    finds(Rule::SettingType, Warning, &["set i 0\n:l\ninc ^i\niseq ${i} 5 || goto l"]);
    accepts(
        Rule::SettingType,
        &[
            "set i:int32 0\ninc i",
            "inc i",
            "set i 0\nclear i\ninc i",
            "set i 0\ninc i:int32",
            "set ${i} 0\ninc i",
            "set i\ninc i",
        ],
    );
    finds(Rule::SettingType, Warning, &["echo ^${a:hexhypen}", "set ^a:int b", "echo ^${net0/ip:IPV4}"]);
    accepts(
        Rule::SettingType,
        &["echo ${a:${b}}", "set a:int32 1", "echo ${17:string}", "item a:b c", "echo ${{{ a }}:b}"],
    );
}

#[test]
fn addresses_and_features() {
    finds(
        Rule::BadAddress,
        Error,
        &[
            "chain ^http:/a/b",
            "chain ^htp://a/b",
            "kernel ^192.0.2.1/a",
            "chain ^iscsi:a",
            "set a ^http://a/b\u{e9}",
            "chain ^http://a:0/",
        ],
    );
    finds(Rule::BadAddress, Warning, &["set a ^http:/b/c", "set a ^htttp://b/c"]);
    accepts(
        Rule::BadAddress,
        &[
            "chain http://{{ a b }}/c",
            "chain ${a}",
            "chain a.ipxe",
            "kernel tftp://${next-server}/a",
            "sanboot iscsi:a",
            "echo htp://a",
            "kernel a b=http:/c",
        ],
    );
    finds(Rule::SecretInScript, Warning, &["chain ^http://a:b@c/d", "set a ^https://a:b@c/d"]);
    accepts(
        Rule::SecretInScript,
        &["chain http://${user}:${password}@a/b", "chain http://a@b/c", "chain http://a:{{ b }}@c/d"],
    );
    finds(Rule::ChainOfSetting, Warning, &["chain ^${filename}", "chain ^tftp://${next-server}/${filename} ||"]);
    finds(Rule::ChainOfSetting, Note, &["chain ^${root-path}"]);
    accepts(
        Rule::ChainOfSetting,
        &[
            "isset ${root-path} && chain ${root-path} ||",
            "iseq ${filename} a || chain ${filename} ||",
            "sanboot ${root-path}",
            "chain ${url}",
        ],
    );
    let bios = LintTarget { platform: ScriptPlatform::Bios, ..LintTarget::default() };
    let efi = LintTarget { platform: ScriptPlatform::Efi, ..LintTarget::default() };
    expect(Rule::MissingFeature, &bios, "console --x 1\nchain https://a/b ||", &[(Warning, 2, 1), (Warning, 3, 7)]);
    expect(Rule::MissingFeature, &bios, "chain http://a/b.efi", &[(Warning, 2, 7)]);
    expect(Rule::MissingFeature, &bios, "iseq ${platform} efi && console ||", &[]);
    expect(
        Rule::MissingFeature,
        &efi,
        "console --x 1\nkernel memdisk\nchain a.kpxe?b",
        &[(Warning, 3, 8), (Warning, 4, 7)],
    );
    let linux = LintTarget { platform: ScriptPlatform::Linux, ..LintTarget::default() };
    let text = "console\nreboot ||\nchain https://a/b.efi ||\nchain file:/a ||\nfdt a ||\nping a ||\nsanhook usb:a ||";
    let wanted = [(Warning, 3, 1), (Warning, 4, 7), (Warning, 5, 7), (Warning, 6, 1), (Warning, 7, 1), (Warning, 8, 9)];
    expect(Rule::MissingFeature, &linux, text, &wanted);
    let secure = LintTarget { platform: ScriptPlatform::SecureBoot, ..LintTarget::default() };
    expect(
        Rule::MissingFeature,
        &secure,
        "iwlist ||\nimgverify a b ||\nibstat ||\ndhcp",
        &[(Warning, 2, 1), (Warning, 3, 1), (Warning, 4, 1)],
    );
    expect(Rule::MissingFeature, &LintTarget::default(), "console\nping a", &[(Note, 3, 1)]);
    let contents =
        BuildContents { name: "`x.pxe`".into(), commands: ["chain".to_owned()].into(), ..BuildContents::default() };
    let build = LintTarget { available: Some(Arc::new(contents)), ..LintTarget::default() };
    let wanted = [(Warning, 2, 1), (Error, 3, 7), (Error, 4, 1)];
    expect(Rule::MissingFeature, &build, "dhcp ||\nchain http://a/b\nshell", &wanted);
    let twice = [(Warning, 2, 7), (Warning, 2, 7)];
    expect(Rule::MissingFeature, &build, "chain http://[2001:db8::1]/ ||", &twice);
}

#[test]
fn versions() {
    let of = |ipxe| LintTarget { ipxe, ..LintTarget::default() };
    let old = of(IpxeRelease::V1_21_1);
    expect(Rule::VersionDifference, &old, "iflinkwait net0 || shim a", &[(Warning, 2, 1), (Warning, 2, 20)]);
    expect(Rule::VersionDifference, &old, "reboot --setup", &[(Warning, 2, 8)]);
    let text = "imgset a b\nchain --quiet c";
    expect(Rule::VersionDifference, &of(IpxeRelease::V2_0_0), text, &[(Warning, 2, 1), (Warning, 3, 7)]);
    expect(Rule::VersionDifference, &of(IpxeRelease::Master), text, &[]);
    expect(Rule::VersionDifference, &of(IpxeRelease::V2_0_0), "chain data:,a ||", &[(Warning, 2, 7)]);
    expect(Rule::BadAddress, &of(IpxeRelease::Master), "chain data:,a ||", &[]);
    for (text, column) in [
        ("read --timeout 5000 a ||", 6),
        ("echo ${sysmac}", 6),
        ("set a ${net0/linktype}", 7),
        ("echo ${smbios/1.8.16:guid}", 6),
    ] {
        expect(Rule::VersionDifference, &old, text, &[(Warning, 2, column)]);
        expect(Rule::VersionDifference, &of(IpxeRelease::V2_0_0), text, &[]);
    }
    expect(Rule::VersionDifference, &of(IpxeRelease::V2_0_0), "echo ${dmesg}", &[(Warning, 2, 6)]);
    expect(Rule::VersionDifference, &old, "set keymap x\necho ${keymap}", &[]);
    let injected = "initrd a /b mode=755\ninitrd c /d mkdir=1\nkernel k initrd=initrd.magic\nboot";
    let of_old = |platform| LintTarget { platform, ..old.clone() };
    expect(Rule::VersionDifference, &old, injected, &[(Note, 2, 10), (Warning, 3, 13), (Note, 4, 10)]);
    let on_uefi = [(Warning, 2, 10), (Warning, 3, 13), (Warning, 4, 10)];
    expect(Rule::VersionDifference, &of_old(ScriptPlatform::Efi), injected, &on_uefi);
    expect(Rule::VersionDifference, &of_old(ScriptPlatform::Bios), injected, &[(Warning, 3, 13)]);
    expect(Rule::VersionDifference, &of(IpxeRelease::V2_0_0), injected, &[]);
    let features = "chain https://a/b ||\nconsole ||\npoweroff ||\nchain http://[2001:db8::1]/ ||";
    let wanted = [(Warning, 2, 7), (Warning, 3, 1), (Warning, 4, 1)];
    expect(Rule::MissingFeature, &of_old(ScriptPlatform::Efi), features, &wanted);
    expect(Rule::MissingFeature, &of_old(ScriptPlatform::Any), features, &wanted.map(|(_, line, at)| (Note, line, at)));
    let boot = "kernel http://a/vmlinuz quiet\ninitrd http://a/i.img\nboot";
    expect(Rule::InitrdArgument, &old, boot, &[(Warning, 2, 8)]);
    expect(Rule::InitrdArgument, &of(IpxeRelease::V2_0_0), boot, &[(Note, 2, 8)]);
    let bios = LintTarget { platform: ScriptPlatform::Bios, ..old };
    expect(Rule::InitrdArgument, &bios, boot, &[]);
}

#[test]
fn settings() {
    finds(
        Rule::MisspeltSetting,
        Warning,
        &["echo ^${hostnam}", "echo ^${next_server}", "set base-url x\nchain ^${bsae-url}"],
    );
    finds(Rule::UnsetSetting, Note, &["echo ^${menu-timeout}"]);
    let set = "set a1b x\nread bcd\ninc cde\nnslookup def x\nmenu\nitem efg\nchoose fgh\nmd5sum --set ghi x\nform\n";
    for name in ["a1b", "bcd", "cde", "def", "efg", "fgh", "ghi"] {
        accepts(Rule::UnsetSetting, &[&format!("{set}echo ${{{name}}}")]);
    }
    accepts(
        Rule::UnsetSetting,
        &[
            "set i 1\nset x_${i} y\necho ${x_1}",
            "echo ${net0/mac} ${17} ${175.189:uint8} ${smbios/0.5.0} ${}",
            "{% include a %}\necho ${b}",
        ],
    );
    accepts(
        Rule::MisspeltSetting,
        &["set disk1 x\necho ${disk2}", "echo ${ip4}", "set hostname2 x\necho ${hostname2}"],
    );
}

#[test]
fn labels_and_menus() {
    finds(Rule::MissingLabel, Error, &["goto ^b\n:a", "goto ^:a\n:a", "dhcp || goto ^A\n:a"]);
    accepts(
        Rule::MissingLabel,
        &["goto ${a}", "goto {{ a }}", "goto a_1\n:a_{{ b }}", "goto a\n{% include b %}", "goto a\n:a", "echo goto a"],
    );
    finds(Rule::DuplicateLabel, Warning, &[":a\nshell\n^:a\ngoto a"]);
    accepts(Rule::DuplicateLabel, &["{% if a %}\n:b\n{% else %}\n:b\n{% endif %}", ":a\n:b"]);
    finds(Rule::UnusedLabel, Note, &["^:a\nshell"]);
    accepts(Rule::UnusedLabel, &[":a\ngoto ${b}", ":a\ngoto a"]);
    finds(Rule::ItemWithoutLabel, Warning, &["item ^a A\nchoose b && goto ${b} ||\n:c"]);
    accepts(
        Rule::ItemWithoutLabel,
        &[
            "item a A\nchoose b\ngoto ${b} ||\nchain ${b}.ipxe\n:c",
            "item a A\nchoose b && goto ${b} ||\n:a",
            "item a A\nchoose b\niseq ${b} a && exit ||\ngoto ${b}\n:c",
            "item --gap -- A\nchoose b && goto ${b} ||\n:c",
            "item a A\nchoose b\nchain ${b}",
        ],
    );
}

#[test]
fn flow() {
    finds(
        Rule::UnreachableCode,
        Warning,
        &["goto a\n^dhcp\n:a", "exit\n^shell", "isset ${a} && goto b || goto b\n^dhcp\n:b", "chain --replace a\n^dhcp"],
    );
    finds(Rule::UnreachableCode, Note, &["goto a ||\n^exit\n:a", "exit\n\n^<html>\n<a && b>\n</html>"]);
    // What never runs is no error.
    accepts(Rule::UnknownCommand, &["exit\nwget\nwget a", "exit\n<html>\n"]);
    finds(Rule::UnknownCommand, Error, &["goto a\nwget\n:a\n^wget", "exit\n:a ^wget"]);
    accepts(
        Rule::UnreachableCode,
        &[
            "isset ${a} && goto b ||\ndhcp\n:b",
            "goto ${a} ||\ndhcp",
            "shell\ndhcp",
            "{% if a %}\nexit\n{% endif %}\ndhcp",
            "chain a || goto b\ndhcp\n:b",
            "exit\n:a\ndhcp\ngoto a",
            // What always fails leads nowhere else.
            "exit nope || echo b\necho c",
            "exit ${a} || echo b\necho c",
            "exit 1 2 || echo b\necho c",
            "exit --help || echo b\necho c",
            "goto nowhere || echo b\necho c",
            "set net0/ip ${a} && goto b || dhcp\nshell\n:b",
            "item a && goto b || dhcp\nshell\n:b",
        ],
    );
    finds(Rule::UnreachableCode, Warning, &["exit 1\n^echo c", "exit ${a}\n^echo c", "exit nope\n^echo c"]);
    finds(
        Rule::FallThrough,
        Warning,
        &[
            "dhcp || goto failed\necho a\n^:failed\nshell",
            "item a\nitem b\nchoose c && goto ${c} ||\n:a\nkernel x\n^:b\nkernel y\nboot",
        ],
    );
    accepts(
        Rule::FallThrough,
        &[
            "dhcp || goto failed\nboot\n:failed\nshell",
            "dhcp || goto next\necho a\n:next\nshell",
            "dhcp || goto error\nexit\n:error\nshell",
        ],
    );
    finds(
        Rule::EndlessLoop,
        Warning,
        &[
            ":a\n^set net0/ip ${b}\ngoto a",
            ":a\n^chain x || goto a",
            ":a\n^goto a",
            ":a\n^isset ${x} || goto a\ngoto a",
            ":a\n^imgfree\nboot || goto a",
        ],
    );
    accepts(
        Rule::EndlessLoop,
        &[
            ":a\ndhcp || goto a",
            ":a\nprompt --timeout 5000 x ||\ngoto a",
            ":a\nsleep 5\nchain x || goto a",
            ":a\nisset ${x} && goto b ||\nset x y\ngoto a\n:b",
            ":a\ninc n\niseq ${n} 5 || goto a",
            ":a\nchain x\ngoto a",
            ":a\nmenu\nitem b\nchoose c\ngoto a",
            ":a\ngoto ${b}",
        ],
    );
}

#[test]
fn failures() {
    finds(
        Rule::RunsEitherWay,
        Warning,
        &[
            "dhcp || echo a && ^goto b\nshell\n:b",
            "chain a || prompt b && ^shell ||",
            "dhcp && chain a || sleep 5 && ^chain b || shell",
        ],
    );
    accepts(
        Rule::RunsEitherWay,
        &[
            "dhcp || echo a",
            "isset ${a} || set a b && goto c\n:c",
            "dhcp || dhcp net1 && goto b\n:b",
            "|| echo a && shell",
            "dhcp || echo a &&",
            "dhcp && echo a || shell",
            "isset ${a} && goto b || echo c && goto d\n:b\n:d",
            "chain a || echo b && goto c\n# d\n:c",
        ],
    );
    finds(
        Rule::ConditionEndsScript,
        Warning,
        &[
            "^isset ${a} && dhcp\nshell",
            "^iseq ${a} b\nshell",
            "^prompt --timeout 5000 a && shell\ndhcp",
            "dhcp && ^isset ${a}\nshell",
        ],
    );
    accepts(
        Rule::ConditionEndsScript,
        &[
            "isset ${a} && dhcp",
            "isset ${a} && dhcp ||\nshell",
            "prompt a\nshell",
            "isset ${a} || dhcp\nshell",
            "isset ${a} ; dhcp\nshell",
        ],
    );
    finds(Rule::UnhandledFailure, Warning, &["^chain a\nchain b", "^sanboot a\necho b", "^boot\ngoto a\n:a"]);
    finds(Rule::UnhandledFailure, Note, &["^dhcp\nshell", "^console --x 1\nshell", "^chain a\nexit"]);
    accepts(
        Rule::UnhandledFailure,
        &[
            "chain a",
            "chain a ||\nchain b",
            "chain a || goto b\n:b",
            "chain a\n:b\ngoto b",
            "chain a\n:b\nexit",
            "chain a && exit ||\nshell",
            "set a b\nshell",
            "inc a\nitem b\nsleep 1\nparam c d\nclear e\nsleep ${f}\nsleep g\nshell",
        ],
    );
}

#[test]
fn images() {
    let boot = |arguments: &str, initrd: &str| format!("kernel http://a/vmlinuz {arguments}\n{initrd}\nboot");
    finds(
        Rule::InitrdArgument,
        Warning,
        &[
            &boot("^initrd=b", "initrd http://a/c"),
            &boot("initrd=c ^initrd=c", "initrd http://a/c"),
            &boot("^initrd=c", "initrd --name b http://a/c"),
        ],
    );
    for (arguments, initrd) in [
        ("initrd=c", "initrd http://a/b/c?d"),
        ("initrd=b", "initrd --name b http://a/c"),
        ("initrd=initrd.magic", "initrd http://a/c"),
        ("initrd=b initrd=c", "initrd http://a/b\ninitrd http://a/c"),
        ("initrd=${b}", "initrd http://a/c"),
        ("initrd=b", "initrd ${c}"),
        ("initrd=b", ""),
        ("${arguments}", "initrd http://a/c"),
        ("{{ arguments }}", "initrd http://a/c"),
    ] {
        accepts(Rule::InitrdArgument, &[&boot(arguments, initrd)]);
    }
    // What another image is made of, or what starts, is no initial RAM disk.
    for (text, place) in [
        ("imgfetch http://a/vmlinuz.gz\nimgextract vmlinuz.gz\nkernel vmlinuz a=b\nboot", None),
        ("imgfetch http://a/vmlinuz\nimgextract --name linux vmlinuz\nboot linux a=b", None),
        ("imgfetch http://a/vmlinuz\nkernel vmlinuz a=b\nboot", None),
        ("imgfetch http://a/vmlinuz\nboot vmlinuz a=b", None),
        ("imgfetch --name vmlinuz http://a/b\nimgargs vmlinuz a=b\nimgexec vmlinuz", None),
        ("imgfetch http://a/vmlinuz.sig\nimgverify http://a/vmlinuz vmlinuz.sig\nkernel vmlinuz a=b\nboot", None),
        ("kernel http://a/vmlinuz a\ninitrd http://a/b\nimgfree b\nboot", None),
        ("imgfetch http://a/b.gz\nimgextract --keep b.gz\nkernel http://a/vmlinuz a=b\nboot", Some((Note, 4, 8))),
        ("initrd http://a/b.gz\nimgextract b.gz\nkernel http://a/vmlinuz initrd=b.gz\nboot", Some((Warning, 4, 25))),
        ("initrd http://a/b.gz\nimgextract b.gz\nkernel http://a/vmlinuz initrd=b\nboot", None),
        ("kernel http://a/vmlinuz initrd=i%20b\ninitrd http://a/i%20b\nboot", Some((Warning, 2, 25))),
        ("kernel http://a/vmlinuz initrd=i-b\ninitrd http://a/i%2db\nboot", None),
        ("kernel http://a/vmlinuz initrd=b%2\ninitrd http://a/b%2\nboot", None),
        ("initrd http://a/b.gz\nimgextract ${c}\nkernel http://a/vmlinuz initrd=b\nboot", None),
    ] {
        expect(Rule::InitrdArgument, &LintTarget::default(), text, place.as_slice());
    }
    accepts(Rule::InitrdArgument, &["kernel http://a/wimboot\ninitrd http://a/boot.wim\nboot"]);
    finds(Rule::ImagesLeft, Note, &["kernel a\n^initrd b\nboot"]);
    accepts(Rule::ImagesLeft, &["imgfree\nkernel a\ninitrd b\nboot", "chain a"]);
}

#[test]
fn comments_silence_a_rule() {
    let of =
        |body: &str| findings(body, &LintTarget::default()).iter().map(|it| (it.rule, it.line)).collect::<Vec<_>>();
    assert_eq!(of("dhcp --timeout 5 || # lint: allow time-unit because"), []);
    assert_eq!(of("# lint: allow time-unit because\n\n# more\ndhcp --timeout 5 ||"), []);
    assert_eq!(of("# lint: allow time-unit because\ndhcp ||"), [(Rule::LintComment, 2)]);
    assert_eq!(of("# lint: allow time-unit because\ndhcp --timeout 5 ||\ndhcp --timeout 5 ||"), [(Rule::TimeUnit, 4)]);
    for comment in ["allow", "allow time-unit", "allow time because", "deny time-unit because", ""] {
        assert_eq!(of(&format!("dhcp || # lint: {comment}")), [(Rule::LintComment, 2)], "{comment}");
    }
    assert_eq!(of("# lint: allow time-unit a\n# lint: allow unused-label b\n:c dhcp --timeout 5 ||"), []);
    assert_eq!(of("iseq a \\\n  # lint: allow wrong-arguments a"), []);
}

#[test]
fn templates_that_are_not_closed_have_their_line() {
    expect(Rule::UnclosedTemplate, &LintTarget::default(), "#!ipxe\nchain {{ a }}\nchain {{ b }\n", &[(Error, 3, 7)]);
    expect(Rule::UnclosedTemplate, &LintTarget::default(), "#!ipxe\n{% if a\nshell\n", &[(Error, 2, 1)]);
}
