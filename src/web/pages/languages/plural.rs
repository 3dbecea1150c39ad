//! Which form of a word goes with a whole number, by CLDR's plural rules.

/// The rule of a language. Its forms are in CLDR's order: zero, one, two, few, many, other. The
/// form that some languages have for whole millions is left out, and so is the one for fractions.
#[derive(Clone, Copy)]
pub enum Plural {
    /// The same for every number.
    Same,
    /// 1; the others.
    One,
    /// 0 and 1; the others.
    ZeroAndOne,
    /// 1; 2 to 4; the others.
    Czech,
    /// 1; numbers that end in 2 to 4, except 12 to 14; the others.
    Polish,
    /// Numbers that end in 1, except 11; in 2 to 4, except 12 to 14; the others.
    Ukrainian,
    /// 0; 1; 2; numbers that end in 03 to 10; in 11 to 99; the others.
    Arabic,
}

impl Plural {
    /// How many forms there are.
    pub const fn forms(self) -> usize {
        match self {
            Plural::Same => 1,
            Plural::One | Plural::ZeroAndOne => 2,
            Plural::Czech | Plural::Polish | Plural::Ukrainian => 3,
            Plural::Arabic => 6,
        }
    }

    /// The place of the form for `n`.
    pub fn form(self, n: u64) -> usize {
        let is_few = matches!(n % 10, 2..=4) && !matches!(n % 100, 12..=14);
        match (self, n) {
            (Plural::Same, _) => 0,
            (Plural::One, _) => usize::from(n != 1),
            (Plural::ZeroAndOne, _) => usize::from(n > 1),
            (Plural::Czech | Plural::Polish, 1) | (Plural::Czech, 2..=4) => usize::from(n != 1),
            (Plural::Ukrainian, _) if n % 10 == 1 && n % 100 != 11 => 0,
            (Plural::Polish | Plural::Ukrainian, _) if is_few => 1,
            (Plural::Czech | Plural::Polish | Plural::Ukrainian, _) => 2,
            (Plural::Arabic, 0..=2) => n as usize,
            (Plural::Arabic, _) => match n % 100 {
                3..=10 => 3,
                11..=99 => 4,
                _ => 5,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers, and one digit for the form of each.
    #[track_caller]
    fn check(plural: Plural, forms: &str) {
        const NUMBERS: [u64; 19] =
            [0, 1, 2, 3, 4, 5, 10, 11, 12, 14, 15, 21, 22, 25, 99, 100, 101, 102, 112];
        let found: String = NUMBERS.into_iter().map(|n| plural.form(n).to_string()).collect();
        assert_eq!(found, forms);
        assert!((0..1000).all(|n| plural.form(n) < plural.forms()));
    }

    #[test]
    fn forms_follow_cldr() {
        check(Plural::Same, "0000000000000000000");
        check(Plural::One, "1011111111111111111");
        check(Plural::ZeroAndOne, "0011111111111111111");
        check(Plural::Czech, "2011122222222222222");
        check(Plural::Polish, "2011122222221222212");
        check(Plural::Ukrainian, "2011122222201222012");
        check(Plural::Arabic, "0123333444444445554");
    }
}
