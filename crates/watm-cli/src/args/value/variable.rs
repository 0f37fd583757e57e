//! An environment variable for a module: `NAME=VALUE`.

use std::str::FromStr;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) value: String,
}

impl FromStr for Variable {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok(Self {
                name: name.to_owned(),
                value: value.to_owned(),
            }),
            _ => Err("expected NAME=VALUE; the value may be empty".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_has_a_name_and_a_value_that_may_contain_anything() {
        let parsed = |text: &str| text.parse::<Variable>().map(|v| (v.name, v.value));
        assert_eq!(parsed("A=b"), Ok(("A".into(), "b".into())));
        assert_eq!(parsed("A=b=c"), Ok(("A".into(), "b=c".into())));
        assert_eq!(parsed("A="), Ok(("A".into(), String::new())));
        for bad in ["", "A", "=b"] {
            parsed(bad).expect_err(bad);
        }
    }
}
