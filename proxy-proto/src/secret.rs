//! A string that cannot be printed and is wiped when dropped.

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A password or token. It has neither `Debug` nor `Display`, compares in constant time and is zeroised when dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text over.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(Zeroizing::new(text.into()))
    }

    /// The text itself: the one way to it, so that its uses can be searched for.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for Secret {}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Secret::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_compared_whole() {
        let secret = Secret::from("one".to_owned());
        assert!(secret == Secret::new("one"));
        assert!(secret != Secret::new("on"));
        assert!(secret != Secret::new("One"));
        assert!(!secret.is_empty() && Secret::new("").is_empty());
    }
}
