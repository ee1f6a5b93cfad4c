//! Rounds in which everything that is compared runs once, and what their numbers come to.

use serde::{Deserialize, Serialize};

use crate::exit::Failure;

/// Something that is measured: its name, and what runs it once and returns the number that counts.
pub(super) type Contender<'c> = (&'c str, &'c mut dyn FnMut() -> Result<f64, Failure>);

/// How often contenders run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rounds {
    /// So many rounds count.
    pub count: u8,
    /// Whether there is one before these, which does not.
    pub warm_up: bool,
}

impl Rounds {
    /// Runs all `contenders` once in each round, every second time in the reverse order, so that a machine that
    /// slows down is fair. `heard` is told the number of each round, and theirs. Returns those of each contender.
    pub fn run(
        self,
        contenders: &mut [Contender<'_>],
        heard: &mut dyn FnMut(u8, &[f64]),
    ) -> Result<Vec<Vec<f64>>, Failure> {
        let mut numbers = vec![Vec::new(); contenders.len()];
        for round in u8::from(!self.warm_up)..=self.count {
            let mut order: Vec<usize> = (0..contenders.len()).collect();
            if round % 2 == 0 {
                order.reverse();
            }
            let mut found = vec![0.0; contenders.len()];
            for index in order {
                found[index] = contenders[index].1()?;
            }
            if round > 0 {
                heard(round, &found);
                for (numbers, number) in numbers.iter_mut().zip(found) {
                    numbers.push(number);
                }
            }
        }
        Ok(numbers)
    }
}

/// What repeated measurements come to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Spread {
    /// The one in the middle.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// How many there are.
    pub runs: usize,
}

impl Spread {
    /// That of `values`.
    pub fn of(values: &[f64]) -> Self {
        let min = values.iter().copied().fold(f64::INFINITY, f64::min);
        let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Self { median: median(values), min, max, runs: values.len() }
    }
}

/// For each round, how many times the number in `larger` is that in `smaller`.
pub(super) fn ratios(larger: &[f64], smaller: &[f64]) -> Vec<f64> {
    larger.iter().zip(smaller).map(|(larger, smaller)| larger / smaller).collect()
}

/// The value in the middle; of two, what is between them.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_and_the_ends() {
        let spread = Spread::of(&[3.0, 1.0, 10.0]);
        assert_eq!(spread, Spread { median: 3.0, min: 1.0, max: 10.0, runs: 3 });
        assert_eq!(Spread::of(&[4.0, 1.0]), Spread { median: 2.5, min: 1.0, max: 4.0, runs: 2 });
    }

    #[test]
    fn what_ran_in_one_round_is_compared() {
        assert_eq!(ratios(&[10.0, 40.0, 9.0], &[1.0, 2.0, 3.0]), [10.0, 20.0, 3.0]);
    }

    #[test]
    fn the_order_changes_and_the_warm_up_does_not_count() {
        let order = std::cell::RefCell::new(String::new());
        let number = std::cell::Cell::new(0.0);
        let run = |name: char| {
            order.borrow_mut().push(name);
            number.set(number.get() + 1.0);
            Ok(number.get())
        };
        let (mut a, mut b, mut c) = (|| run('a'), || run('b'), || run('c'));
        let mut heard = String::new();
        let rounds = Rounds { count: 2, warm_up: true };
        let mut contenders: [Contender<'_>; 3] = [("a", &mut a), ("b", &mut b), ("c", &mut c)];
        let found = rounds.run(&mut contenders, &mut |round, found| heard += &format!("{round} {found:?} "));
        assert_eq!(order.take(), "cbaabccba");
        assert_eq!(found.unwrap(), [[4.0, 9.0], [5.0, 8.0], [6.0, 7.0]]);
        assert_eq!(heard, "1 [4.0, 5.0, 6.0] 2 [9.0, 8.0, 7.0] ");
        let rounds = Rounds { count: 1, warm_up: false };
        rounds.run(&mut contenders[..2], &mut |_, _| {}).unwrap();
        assert_eq!(order.take(), "ab");
    }

    #[test]
    fn a_failure_ends_the_rounds() {
        let mut failing = || Err(Failure::new(1, "no"));
        let rounds = Rounds { count: 9, warm_up: false };
        assert_eq!(rounds.run(&mut [("it", &mut failing)], &mut |_, _| {}).unwrap_err().message, "no");
    }
}
