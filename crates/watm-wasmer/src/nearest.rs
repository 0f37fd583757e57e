//! What a misspelt name was meant to be.

/// How many characters of a name count. A longer one takes long to compare, and is like none.
const LIMIT: usize = 64;

/// The name that is most like `name`, if there are any. Upper case and lower case are alike.
pub(crate) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name: String = name.chars().take(LIMIT).collect::<String>().to_lowercase();
    names.min_by_key(|other| strsim::osa_distance(&name, &other.to_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_is_like_the_one_that_was_meant() {
        let names = ["listen", "remote", "forward", "memory_limit"];
        let nearest = |name: &str| nearest(name, names.iter().copied());
        assert_eq!(nearest("listner"), Some("listen"));
        assert_eq!(nearest("fowrard"), Some("forward"));
        assert_eq!(nearest("MemoryLimit"), Some("memory_limit"));
        nearest(&"x".repeat(1_000_000)).expect("any");
        assert_eq!(super::nearest("x", std::iter::empty()), None);
    }
}
