//! What follows what: the commands of a script as a graph.
//!
//! After a command, iPXE looks for the next one of the line that its operator lets run. A line whose last command
//! failed ends the script. `goto` continues at a label, and `exit` ends the script.

use super::command::{is_miscounted, no_number, numeric_words};
use super::{KnownCommand, Linter, boots};
use crate::syntax::{Operator, ScriptLine, ScriptWord};

/// A command in the graph.
pub(super) struct Node {
    /// The index of its line.
    pub line: usize,
    /// Its index in the line.
    pub index: usize,
    /// Its index among the known commands.
    pub known: Option<usize>,
    /// What follows if it succeeds; `None` if it cannot.
    pub success: Option<Next>,
    /// What follows if it fails; `None` if it cannot.
    pub failure: Option<Next>,
}

/// What follows a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Another command of the same line.
    Same(usize),
    /// The line after it.
    Line,
    /// A label, by its line.
    Label(usize),
    /// A label that is not known.
    Somewhere,
    /// The script ends because it is told to.
    Exit,
    /// The script ends because the line failed.
    Dies,
}

/// The graph of a script.
pub(super) struct Graph {
    pub nodes: Vec<Node>,
    /// The first node at or after each line.
    after: Vec<Option<usize>>,
    /// How the line of each node can end from there.
    ends: Vec<LineEnd>,
}

/// How a line can end.
#[derive(Debug, Clone, Copy, Default)]
struct LineEnd {
    /// Whether it can go on with the line after it.
    falls: bool,
    /// Whether it can do so after a command that usually comes back.
    plain: bool,
}

impl Graph {
    pub(super) fn of(linter: &Linter<'_, '_>) -> Self {
        let mut known = linter.known.iter().enumerate().peekable();
        let count = linter.script.lines.len();
        let mut graph = Self { nodes: Vec::new(), after: vec![None; count + 1], ends: Vec::new() };
        for (number, line) in linter.script.lines.iter().enumerate() {
            let base = graph.nodes.len();
            let following = following(line);
            for (index, command) in line.commands.iter().enumerate() {
                // Known commands are in order, too.
                let known = known.next_if(|(_, it)| (it.line, it.index) == (number, index)).map(|(at, _)| at);
                let of = known.map(|at| &linter.known[at]);
                let (success, failure) = match of {
                    _ if command.words.is_empty() => (true, false),
                    Some(of) => linter.outcomes(of),
                    None => (true, true),
                };
                let next = |failed: bool| match following[index][usize::from(failed)] {
                    Next::Same(index) => Next::Same(base + index),
                    next => next,
                };
                let success = success.then(|| of.and_then(|of| linter.jump(of)).unwrap_or_else(|| next(false)));
                let failure = failure.then(|| next(true));
                graph.nodes.push(Node { line: number, index, known, success, failure });
            }
        }
        let mut first = None;
        for line in (0..linter.script.lines.len()).rev() {
            if !linter.script.lines[line].commands.is_empty() {
                first = graph.nodes.partition_point(|node| node.line < line).into();
            }
            graph.after[line] = first;
        }
        graph.find_ends(linter);
        graph
    }

    /// Fills in how each node's line can end from there. What follows in a line has a higher number.
    fn find_ends(&mut self, linter: &Linter<'_, '_>) {
        self.ends = vec![LineEnd::default(); self.nodes.len()];
        for (at, node) in self.nodes.iter().enumerate().rev() {
            let boots = node.known.is_some_and(|known| comes_back_seldom(&linter.known[known]));
            let mut end = LineEnd::default();
            for (next, failed) in [(node.success, false), (node.failure, true)] {
                match next {
                    Some(Next::Same(to)) => {
                        end.falls |= self.ends[to].falls;
                        end.plain |= self.ends[to].plain;
                    }
                    Some(Next::Line) => {
                        end.falls = true;
                        end.plain |= failed || !boots;
                    }
                    _ => {}
                }
            }
            self.ends[at] = end;
        }
    }

    /// Returns the node that `next` leads to from `node`, if it is one.
    pub(super) fn target(&self, node: usize, next: Next) -> Option<usize> {
        match next {
            Next::Same(node) => Some(node),
            Next::Line => self.after[self.nodes[node].line + 1],
            Next::Label(line) => self.after[line],
            Next::Somewhere | Next::Exit | Next::Dies => None,
        }
    }

    /// Returns the first node at or after the line with the index `line`.
    pub(super) fn first_from(&self, line: usize) -> Option<usize> {
        self.after.get(line).copied().flatten()
    }

    /// Checks whether the line of its first node `first` can go on with the line after it. The second value is whether
    /// it does so only after a command that usually does not come back.
    pub(super) fn falls_through(&self, first: usize) -> (bool, bool) {
        let LineEnd { falls, plain } = self.ends[first];
        (falls, falls && !plain)
    }
}

impl Linter<'_, '_> {
    /// Returns where a command goes on if it succeeds, unless that is up to its operator.
    fn jump(&self, known: &KnownCommand<'_, '_>) -> Option<Next> {
        match known.name {
            "exit" => Some(Next::Exit),
            "goto" => {
                let label = known.arguments.positional.first()?;
                let lines = self.labels.get(&*label.text).filter(|_| label.is_plain());
                Some(lines.map_or(Next::Somewhere, |lines| Next::Label(lines[0])))
            }
            "chain" | "boot" | "imgexec" if known.arguments.option("replace").is_some() => Some(Next::Exit),
            _ => None,
        }
    }

    /// Checks whether a command always fails, because of its words.
    pub(super) fn always_fails(&self, known: &KnownCommand<'_, '_>) -> bool {
        // `help` reads no words.
        let KnownCommand { name, arguments, .. } = known;
        *name != "help" && (!arguments.problems.is_empty() || arguments.help || is_miscounted(known))
            || no_number(known).is_some()
            || self.lost_target(known).is_some()
    }

    /// Returns whether a command can succeed, and whether it can fail.
    fn outcomes(&self, known: &KnownCommand<'_, '_>) -> (bool, bool) {
        let arguments = &known.arguments;
        if self.always_fails(known) {
            return (false, true);
        }
        match known.name {
            "config" | "imgstat" | "imgfree" => (true, !arguments.positional.is_empty()),
            "exit" | "sleep" => (true, numeric_words(known).any(|word| !word.is_plain())),
            "goto" => (true, !arguments.positional.first().is_some_and(ScriptWord::is_plain)),
            "prompt" => (true, arguments.option("timeout").is_some() || arguments.option("key").is_some()),
            "sync" => (true, arguments.option("timeout").is_some()),
            "echo" | "form" | "help" | "menu" | "params" | "route" | "shell" => (true, false),
            _ => (true, true),
        }
    }
}

/// Checks whether the command `name` fails only if a word of it is wrong, or what it belongs to is missing. Scripts need
/// not handle that, and do not end by it.
pub(super) fn fails_by_mistake(name: &str) -> bool {
    matches!(name, "clear" | "config" | "exit" | "ifclose" | "ifstat" | "inc" | "item" | "param" | "set" | "sleep")
}

/// Returns what follows each command of `line` after it has succeeded, and after it has failed.
fn following(line: &ScriptLine<'_>) -> Vec<[Next; 2]> {
    let mut all = vec![[Next::Line, Next::Dies]; line.commands.len()];
    for (index, command) in line.commands.iter().enumerate().rev() {
        let Some((operator, _)) = command.operator else { continue };
        let next = Next::Same(index + 1);
        // A command that does not run leaves the status as it is.
        let after = all.get(index + 1).copied().unwrap_or([Next::Line, Next::Dies]);
        all[index] = match operator {
            Operator::Or => [after[0], next],
            Operator::And => [next, after[1]],
            Operator::Then => [next, next],
        };
    }
    all
}

/// Checks whether a command usually does not come back, because it starts something else or ends the machine's work.
fn comes_back_seldom(known: &KnownCommand<'_, '_>) -> bool {
    boots(known.name) || matches!(known.name, "shell" | "reboot" | "poweroff" | "config")
}

/// Checks whether a command waits, for a person or for the network.
pub(super) fn waits(known: &KnownCommand<'_, '_>) -> bool {
    matches!(
        known.name,
        "autoboot"
            | "choose"
            | "config"
            | "dhcp"
            | "ifconf"
            | "iflinkwait"
            | "ifopen"
            | "login"
            | "nslookup"
            | "ntp"
            | "ping"
            | "present"
            | "prompt"
            | "pxebs"
            | "read"
            | "sanboot"
            | "sanhook"
            | "shell"
            | "sleep"
            | "sync"
            | "time"
    )
}
