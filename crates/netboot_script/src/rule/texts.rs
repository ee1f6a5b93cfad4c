//! The texts of the rules, in the order of [`Rule`](super::Rule). The reference in the book is made of them.

use super::RuleText;
use super::Severity::{Error, Note, Warning};

/// The texts of all rules.
pub(super) const TEXTS: &[RuleText] = &[
    RuleText {
        id: "not-a-script",
        severity: Error,
        title: "`#!ipxe` is not the first line",
        why: "iPXE takes a file for a script only if its first bytes are `#!ipxe` and a space or line break. With an \
              empty line, a blank or a byte order mark before them, it reports \"Exec format error\" on UEFI. On BIOS, \
              it takes the text for a network boot program and executes it, which usually hangs the machine. `#!gpxe`, \
              from iPXE's earlier name, is as good. If lines end in carriage returns alone, all of them are part of \
              the first one, which is a comment: iPXE does nothing, and reports success.",
        remedy: "Make `#!ipxe` the first line, and save the file as UTF-8 without a byte order mark, with line feeds.",
        passing: "#!ipxe\nshell\n",
        failing: "\u{feff}#!ipxe\nshell\n",
    },
    RuleText {
        id: "nul-byte",
        severity: Error,
        title: "There is a NUL byte in the script",
        why: "iPXE ends the line at a NUL byte, so the rest of the line is never read. Such bytes come from files in \
              UTF-16, and from downloads that broke off.",
        remedy: "Remove it, or save the file as UTF-8.",
        passing: "#!ipxe\necho one two\n",
        failing: "#!ipxe\necho one\0 two\n",
    },
    RuleText {
        id: "trailing-backslash",
        severity: Warning,
        title: "The last line ends in a backslash",
        why: "A backslash at the end of a line joins it with the next line. The last line has none, and iPXE refuses \
              the script with \"Invalid argument\" when it gets there. Only a script that this project embeds is not \
              refused, because line breaks follow it in the loader.",
        remedy: "Finish the command, or remove the backslash.",
        passing: "#!ipxe\nkernel http://192.0.2.1/vmlinuz \\\n  console=ttyS0\nboot\n",
        failing: "#!ipxe\nset a b \\\n",
    },
    RuleText {
        id: "too-many-words",
        severity: Error,
        title: "A line has more than 200 words",
        why: "iPXE keeps pointers to all words of a line on its stack, which a BIOS loader shares with the firmware. \
              A line of more than 200 words can overflow it, and the machine hangs or restarts.",
        remedy: "Split the line. Arguments of a kernel can come from several settings.",
        passing: "#!ipxe\necho short\n",
        failing: concat!(
            "#!ipxe\necho",
            " x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x",
            " x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x",
            " x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x",
            " x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x\n",
        ),
    },
    RuleText {
        id: "unclosed-template",
        severity: Error,
        title: "A delimiter of a template is never closed",
        why: "The file has `{{`, `{%`, `{#` or `<%` without the delimiter that ends it, so the template engine refuses \
              it, and no script comes of it.",
        remedy: "Close the delimiter.",
        passing: "#!ipxe\nchain {{ url }}\n",
        failing: "#!ipxe\nchain {{ url\n",
    },
    RuleText {
        id: "unknown-command",
        severity: Error,
        title: "A command does not exist",
        why: "iPXE prints \"command not found\", and the command fails. Without `||` the script ends there. Names are \
              case-sensitive, and a label needs its colon.",
        remedy: "Use a command of iPXE: see <https://ipxe.org/cmd>.",
        passing: "#!ipxe\nchain http://192.0.2.1/a.ipxe\n",
        failing: "#!ipxe\nwget http://192.0.2.1/a.ipxe\n",
    },
    RuleText {
        id: "unknown-option",
        severity: Error,
        title: "A command has no such option",
        why: "iPXE prints the usage of the command, which fails without having done anything. Every word that begins \
              with a hyphen is an option until the first word that does not: `echo ---` fails, too. `--` ends the \
              options.",
        remedy: "Use an option of the command, or write `--` before text that begins with a hyphen.",
        passing: "#!ipxe\necho -- -----\ndhcp --timeout 5000 net0 ||\n",
        failing: "#!ipxe\necho -----\n",
    },
    RuleText {
        id: "option-without-value",
        severity: Error,
        title: "An option lacks its value, has one too many, or has no number",
        why: "iPXE takes the value of an option from the same word after `=`, or from the next word unless that begins \
              with a hyphen. Without a value, or with one for an option that has none, the command fails. So it does \
              if the value must be a number and is none.",
        remedy: "Write `--name value` or `--name=value`.",
        passing: "#!ipxe\nprompt --key 0x02 --timeout=5000 Press Ctrl-B ||\n",
        failing: "#!ipxe\nprompt --timeout --key 0x02 Press Ctrl-B ||\n",
    },
    RuleText {
        id: "wrong-arguments",
        severity: Error,
        title: "A command has too few or too many words, or a word that has to be a number and is none",
        why: "iPXE prints the usage of the command, or \"invalid integer value\", and the command fails. Settings never \
              become several words, so a value with blanks is still one word.",
        remedy: "Give the command the words that it takes. iPXE has no quoting: use settings for text with blanks.",
        passing: "#!ipxe\niseq ${platform} efi && shell ||\n",
        failing: "#!ipxe\niseq ${platform} efi shell ||\n",
    },
    RuleText {
        id: "missing-label",
        severity: Error,
        title: "`goto` has a target that does not exist",
        why: "iPXE searches the script for a line that begins with the label, and `goto` fails if there is none. \
              Without `||` the script ends there. The name of the label is written without its colon.",
        remedy: "Add the label as `:name` at the beginning of a line, or correct the name.",
        passing: "#!ipxe\ndhcp || goto failed\nexit\n:failed\nshell\n",
        failing: "#!ipxe\ndhcp || goto fail\nexit\n:failed\nshell\n",
    },
    RuleText {
        id: "bad-address",
        severity: Error,
        title: "iPXE cannot fetch from an address",
        why: "An address without a scheme is a path on the server that the script came from. Blanks end the word, and \
              iPXE sends other characters than those of ASCII wrong: 2.0.0 sends `%FFFFFFC3` for the first byte of \
              an umlaut.",
        remedy: "Write the whole address, blanks as `%20`, and other characters as the server expects them.",
        passing: "#!ipxe\nchain http://192.0.2.1/a%20b.ipxe\n",
        failing: "#!ipxe\nchain http:/192.0.2.1/a.ipxe\n",
    },
    RuleText {
        id: "missing-feature",
        severity: Warning,
        title: "A build lacks a command, a protocol or a type of image",
        why: "Many commands and protocols are not in every build: BIOS builds lack `console` and https, no build has \
              `ping` by default, and a BIOS build does not start EFI applications. The command fails there.",
        remedy: "Use a build that has it, or do without it. `||` after the command lets the script go on.",
        passing: "#!ipxe\nchain http://192.0.2.1/a.ipxe\n",
        failing: "#!ipxe\nping 192.0.2.1\n",
    },
    RuleText {
        id: "version-difference",
        severity: Warning,
        title: "Another version of iPXE is needed",
        why: "A command or option that is newer than the version that the script is for fails there. A newer setting, or \
              one with a newer type, is empty. iPXE 1.21.1 does two things otherwise on UEFI: an image with a name after \
              its address does not become a file of the initial RAM disk, and there is no `initrd.magic`. Its builds have \
              less by default, which `missing-feature` takes into account.",
        remedy: "Use a newer iPXE, or do without it.",
        passing: "#!ipxe\nkernel http://192.0.2.1/vmlinuz\nboot\n",
        failing: "#!ipxe\nkernel --quiet http://192.0.2.1/vmlinuz\nboot\n",
    },
    RuleText {
        id: "time-unit",
        severity: Warning,
        title: "A time is in the wrong unit",
        why: "`--timeout` is in milliseconds, so `--timeout 5` waits for no more than an instant. `sleep` is in \
              seconds, so `sleep 5000` waits for more than an hour.",
        remedy: "Write milliseconds after `--timeout`, and seconds after `sleep`.",
        passing: "#!ipxe\nprompt --timeout 5000 Press a key for the shell && shell ||\n",
        failing: "#!ipxe\nprompt --timeout 5 Press a key for the shell && shell ||\n",
    },
    RuleText {
        id: "late-option",
        severity: Warning,
        title: "An option stands after the first word that is none",
        why: "iPXE reads options only up to the first word that is not one. What follows is an argument of the image, \
              an interface, or text.",
        remedy: "Write the option directly after the command.",
        passing: "#!ipxe\nchain --autofree http://192.0.2.1/a.ipxe\n",
        failing: "#!ipxe\nchain http://192.0.2.1/a.ipxe --autofree\n",
    },
    RuleText {
        id: "glued-operator",
        severity: Warning,
        title: "An operator has no space beside it",
        why: "iPXE takes `||`, `&&` and `;` for operators only if they are words of their own. Otherwise they are part \
              of the word, and the commands after them are its arguments.",
        remedy: "Write spaces around the operator.",
        passing: "#!ipxe\ndhcp net0 && goto found || shell\n:found\nshell\n",
        failing: "#!ipxe\ndhcp net0&& goto found || shell\n:found\nshell\n",
    },
    RuleText {
        id: "command-as-argument",
        severity: Warning,
        title: "A command stands among the arguments of another one",
        why: "Only operators separate commands in a line. Without one, the second command is an argument of the \
              first, and never runs.",
        remedy: "Write `||`, `&&` or `;` between the commands, or begin a new line.",
        passing: "#!ipxe\ndhcp net0 || shell\n",
        failing: "#!ipxe\ndhcp net0 shell\n",
    },
    RuleText {
        id: "quotes",
        severity: Warning,
        title: "Quotes are part of the word",
        why: "iPXE has no quoting: quotes stay in the word, and blanks between them separate words. `isset \"${x}\"` \
              always succeeds, and an address in quotes is no address.",
        remedy: "Leave the quotes out. The value of a setting stays one word, whatever is in it.",
        passing: "#!ipxe\nisset ${x} || shell\n",
        failing: "#!ipxe\nisset \"${x}\" || shell\n",
    },
    RuleText {
        id: "comment-inside-line",
        severity: Warning,
        title: "The end of a line is a comment",
        why: "A word that begins with `#` begins a comment, wherever it stands. The rest of the line is not shown, not \
              stored and not executed.",
        remedy: "Join the `#` with the word before it, or leave it out.",
        passing: "#!ipxe\necho Rack 1 # for the console\n",
        failing: "#!ipxe\necho Rack #1 starts\n",
    },
    RuleText {
        id: "invisible-character",
        severity: Warning,
        title: "There is a character that only looks like a blank, a quote, a hyphen or a line break, or that nobody sees",
        why: "iPXE separates words at blanks and tabs of ASCII only, and options begin with the hyphen of ASCII. Text \
              that was copied from a web page or a word processor often has other characters that look the same, and \
              some that nobody sees or that show the text in another order. A carriage return alone ends no line: what \
              follows is part of the line before.",
        remedy: "Type the characters again.",
        passing: "#!ipxe\nset a b\necho ${a}\n",
        failing: "#!ipxe\nset a\u{a0}b\necho ${a}\n",
    },
    RuleText {
        id: "unclosed-setting",
        severity: Warning,
        title: "`${` has no `}` in the same word",
        why: "iPXE splits a line into words before it expands settings, and leaves `${` as it is if the word has no \
              `}` after it.",
        remedy: "Add the `}`, and write the name without blanks.",
        passing: "#!ipxe\necho ${net0/mac}\n",
        failing: "#!ipxe\necho ${net0/mac\n",
    },
    RuleText {
        id: "setting-type",
        severity: Warning,
        title: "A setting has a type that does not exist, or none where it is counted",
        why: "iPXE knows the types `string`, `uristring`, `ipv4`, `ipv6`, `int8`, `int16`, `int32`, `uint8`, `uint16`, \
              `uint32`, `hex`, `hexhyp`, `hexraw`, `base64`, `uuid`, `guid`, `busdevfn` and `dnssl`. With another \
              type, a setting is always empty, and cannot be set. Without a type, `set` makes text of it, for which \
              `inc` fails with \"Operation not supported\".",
        remedy: "Use one of these types, and `int32` for what `inc` counts.",
        passing: "#!ipxe\nchain http://192.0.2.1/${net0/mac:hexhyp}.ipxe\n",
        failing: "#!ipxe\nchain http://192.0.2.1/${net0/mac:hexhyphen}.ipxe\n",
    },
    RuleText {
        id: "misspelt-setting",
        severity: Warning,
        title: "The name of a setting is almost that of another one",
        why: "A setting that nobody has set is empty, without any message.",
        remedy: "Correct the name.",
        passing: "#!ipxe\ndhcp\necho ${next-server}\n",
        failing: "#!ipxe\ndhcp\necho ${next-sever}\n",
    },
    RuleText {
        id: "unset-setting",
        severity: Note,
        title: "The script does not set a setting that it uses",
        why: "iPXE has no setting of this name. It is empty unless another script has set it before.",
        remedy: "Set it, or make sure that the script which loads this one does.",
        passing: "#!ipxe\nset menu-timeout 5000\necho ${menu-timeout}\n",
        failing: "#!ipxe\necho ${menu-timeout}\n",
    },
    RuleText {
        id: "chain-of-setting",
        severity: Warning,
        title: "A file is loaded whose name DHCP sends, without a check",
        why: "`${filename}` is usually the loader that runs already: it loads itself again, for ever. An empty setting \
              is the address that the script came from, which loops, too.",
        remedy: "Check the setting with `isset` or `iseq` before, or write the address.",
        passing: "#!ipxe\ndhcp\niseq ${filename} undionly.kpxe || chain ${filename} ||\nshell\n",
        failing: "#!ipxe\ndhcp\nchain ${filename}\n",
    },
    RuleText {
        id: "duplicate-label",
        severity: Warning,
        title: "A label is there twice",
        why: "`goto` always finds the first one.",
        remedy: "Rename one of them.",
        passing: "#!ipxe\ngoto b\n:a\necho first\nexit\n:b\necho second\n",
        failing: "#!ipxe\ngoto a\n:a\necho first\nexit\n:a\necho second\n",
    },
    RuleText {
        id: "unused-label",
        severity: Note,
        title: "No `goto` has the label as its target",
        why: "A label that nothing jumps to is often a misspelt one. If the line before it never goes on, the commands \
              after it never run.",
        remedy: "Remove the label, or jump to it.",
        passing: "#!ipxe\ndhcp || goto failed\nexit\n:failed\necho failed\nshell\n",
        failing: "#!ipxe\ndhcp || shell\nexit\n:failed\necho failed\nshell\n",
    },
    RuleText {
        id: "item-without-label",
        severity: Warning,
        title: "An entry of a menu has no label",
        why: "The script jumps to the label that is called like the chosen entry, and there is none: `goto` fails, and \
              without `||` the script ends.",
        remedy: "Add the label, or correct the name of the entry.",
        passing: "#!ipxe\nmenu\nitem disk Local disk\nchoose what && goto ${what}\n:disk\nexit\n",
        failing: "#!ipxe\nmenu\nitem disk Local disk\nchoose what && goto ${what}\n:disc\nexit\n",
    },
    RuleText {
        id: "unreachable-code",
        severity: Warning,
        title: "A command never runs",
        why: "The line before it always jumps or ends the script, and no label lets anything jump here.",
        remedy: "Remove the command, or add a label.",
        passing: "#!ipxe\ngoto end\n:end\nshell\n",
        failing: "#!ipxe\ngoto end\necho never\n:end\nshell\n",
    },
    RuleText {
        id: "fall-through",
        severity: Warning,
        title: "A script runs on into the part for failures or into the next entry of a menu",
        why: "A label does not end anything: after the line before it, iPXE goes on with the line after it.",
        remedy: "End the part before the label with `boot`, `goto` or `exit`.",
        passing: "#!ipxe\ndhcp || goto failed\necho done\nexit\n:failed\necho failed\nshell\n",
        failing: "#!ipxe\ndhcp || goto failed\necho done\n:failed\necho failed\nshell\n",
    },
    RuleText {
        id: "endless-loop",
        severity: Warning,
        title: "A loop has no end and no pause",
        why: "If the commands in the loop fail at once, as they do when a server refuses, the machine repeats them as \
              fast as it can, floods the network, and shows nothing that anybody can read.",
        remedy: "Add `sleep`, a `prompt` with a timeout, or an end to the loop.",
        passing: "#!ipxe\n:retry\nsleep 5\nchain http://192.0.2.1/a.ipxe || goto retry\n",
        failing: "#!ipxe\n:retry\nchain http://192.0.2.1/a.ipxe || goto retry\n",
    },
    RuleText {
        id: "condition-ends-script",
        severity: Warning,
        title: "The script ends if a condition is not met",
        why: "A line that ends with a command that failed ends the script, and `isset`, `iseq` and a `prompt` that \
              nobody answers are commands that fail. The lines after it never run.",
        remedy: "End the line with `||`, after which an empty command always succeeds.",
        passing: "#!ipxe\nisset ${net1/mac} && dhcp net1 ||\nshell\n",
        failing: "#!ipxe\nisset ${net1/mac} && dhcp net1\nshell\n",
    },
    RuleText {
        id: "unhandled-failure",
        severity: Warning,
        title: "The script ends if a command fails",
        why: "A command that fails without `||` ends the script, and the machine goes on with its next boot device. \
              What stands after it as a second try, a message or a shell never runs. Only `boot` without a selected \
              image does not fail: iPXE 2.0.0 prints \"No image selected\", and goes on.",
        remedy: "Write `||` and what to do then, or `||` alone to go on.",
        passing: "#!ipxe\nchain http://192.0.2.1/a.ipxe ||\nchain http://192.0.2.2/a.ipxe\n",
        failing: "#!ipxe\nchain http://192.0.2.1/a.ipxe\nchain http://192.0.2.2/a.ipxe\n",
    },
    RuleText {
        id: "runs-either-way",
        severity: Warning,
        title: "A command after a message about a failure runs without a failure, too",
        why: "Operators have no precedence: each looks at the command that ran last. If the first command in \
              `dhcp || echo failed && goto retry` succeeds, `echo` does not run, and `&&` follows a success.",
        remedy: "Jump with `||`, and write the message at the label: `dhcp || goto retry`.",
        passing: "#!ipxe\n:start\ndhcp || goto retry\nshell\n:retry\necho failed\ngoto start\n",
        failing: "#!ipxe\n:start\ndhcp || echo failed && goto start\nshell\n",
    },
    RuleText {
        id: "initrd-argument",
        severity: Warning,
        title: "The argument `initrd=` of a kernel does not name its initial RAM disk",
        why: "On UEFI, a kernel before Linux 5.7, or one that iPXE 1.21.1 starts, reads the initial RAM disk by the \
              name in `initrd=`, which has to be that of an image: its file name, or the one given with `--name`. \
              Otherwise it stops with \"Unable to mount root fs\". On BIOS the argument does nothing.",
        remedy: "Name each image once, as in `initrd=initrd.img`.",
        passing: "#!ipxe\nkernel http://192.0.2.1/vmlinuz initrd=initrd.img\ninitrd http://192.0.2.1/initrd.img\nboot\n",
        failing: "#!ipxe\nkernel http://192.0.2.1/vmlinuz initrd=initrd.gz\ninitrd http://192.0.2.1/initrd.img\nboot\n",
    },
    RuleText {
        id: "images-left",
        severity: Note,
        title: "Images of an earlier try become part of the initial RAM disk",
        why: "iPXE gives a kernel all images that are registered, one after the other, as its initial RAM disk: those \
              of a try that failed, a script that was loaded before, and pictures as well.",
        remedy: "Write `imgfree` before the first `kernel` or `initrd`, and load scripts with `chain --autofree`.",
        passing: concat!(
            "#!ipxe\nkernel http://192.0.2.1/vmlinuz initrd=a && initrd http://192.0.2.1/a && boot ||\n",
            "imgfree\nkernel http://192.0.2.2/vmlinuz initrd=a\ninitrd http://192.0.2.2/a\nboot\n",
        ),
        failing: concat!(
            "#!ipxe\nkernel http://192.0.2.1/vmlinuz initrd=a && initrd http://192.0.2.1/a && boot ||\n",
            "kernel http://192.0.2.2/vmlinuz initrd=a\ninitrd http://192.0.2.2/a\nboot\n",
        ),
    },
    RuleText {
        id: "secret-in-script",
        severity: Warning,
        title: "There is a password in an address",
        why: "Everybody who can fetch the script, or read the loader that it is embedded in, can read the password.",
        remedy: "Use a setting, as in `http://${username:uristring}:${password:uristring}@...` after `login`.",
        passing: "#!ipxe\nchain http://192.0.2.1/a.ipxe\n",
        failing: "#!ipxe\nchain http://admin:secret@192.0.2.1/a.ipxe\n",
    },
    RuleText {
        id: "lint-comment",
        severity: Warning,
        title: "A comment for this linter is wrong or useless",
        why: "`# lint: allow RULE reason` silences a rule for its own line, or for the next one if it is alone in its \
              line. It needs the name of a rule and a reason, and something to silence.",
        remedy: "Correct the comment, or remove it.",
        passing: "#!ipxe\nping 192.0.2.1 # lint: allow missing-feature our builds have it\n",
        failing: "#!ipxe\nshell # lint: allow missing-feature our builds have it\n",
    },
];
