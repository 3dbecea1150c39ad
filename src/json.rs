//! A JSON object as it was sent: its fields in order, including duplicates.
//!
//! RFC 8259 leaves the meaning of a repeated name open, and two parsers that choose differently are
//! a security hole. So whatever reads foreign objects (claims, token headers, JSON bodies) looks at
//! every field.

use std::collections::HashSet;

use serde::de::{
    Deserialize, DeserializeOwned, Deserializer, Error, MapAccess, SeqAccess, Visitor,
};
use serde_json::Value;

/// The fields of a JSON object in the order in which they were sent.
pub struct Fields(Vec<(String, Value)>);

impl Fields {
    /// Parses a document that consists of one object.
    ///
    /// # Errors
    /// If it is not exactly one JSON object.
    pub fn parse(document: &[u8]) -> Result<Fields, serde_json::Error> {
        serde_json::from_slice(document)
    }

    /// Parses a form as browsers encode it. Every value is a string.
    pub fn parse_form(body: &[u8]) -> Fields {
        let pairs = url::form_urlencoded::parse(body);
        Fields(
            pairs
                .map(|(name, value)| (name.into_owned(), Value::String(value.into_owned())))
                .collect(),
        )
    }

    /// All fields, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// The first value with that name.
    pub fn first(&self, name: &str) -> Option<&Value> {
        self.iter().find(|(field, _)| *field == name).map(|(_, value)| value)
    }

    /// Whether any name occurs twice.
    pub fn has_duplicates(&self) -> bool {
        let mut names: Vec<&str> = self.iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        names.windows(2).any(|pair| pair[0] == pair[1])
    }
}

/// Parses a document in which no object repeats a name, at any depth.
///
/// # Errors
/// If it is not JSON, repeats a name, or does not have the shape of `T`.
pub fn parse_unambiguous<T: DeserializeOwned>(document: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice::<Unambiguous>(document)?;
    serde_json::from_slice(document)
}

/// Any value in which no object repeats a name.
struct Unambiguous;

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Unambiguous, D::Error> {
        struct AnyValue;
        impl<'de> Visitor<'de> for AnyValue {
            type Value = Unambiguous;
            fn expecting(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
                formatter.write_str("JSON without repeated names")
            }
            fn visit_unit<E>(self) -> Result<Unambiguous, E> {
                Ok(Unambiguous)
            }
            fn visit_bool<E>(self, _: bool) -> Result<Unambiguous, E> {
                Ok(Unambiguous)
            }
            fn visit_i64<E>(self, _: i64) -> Result<Unambiguous, E> {
                Ok(Unambiguous)
            }
            fn visit_u64<E>(self, _: u64) -> Result<Unambiguous, E> {
                Ok(Unambiguous)
            }
            fn visit_f64<E>(self, _: f64) -> Result<Unambiguous, E> {
                Ok(Unambiguous)
            }
            fn visit_str<E>(self, _: &str) -> Result<Unambiguous, E> {
                Ok(Unambiguous)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Unambiguous, A::Error> {
                while list.next_element::<Unambiguous>()?.is_some() {}
                Ok(Unambiguous)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Unambiguous, A::Error> {
                let mut names = HashSet::new();
                while let Some((name, Unambiguous)) = map.next_entry::<String, _>()? {
                    if !names.insert(name) {
                        return Err(A::Error::custom("a name is repeated"));
                    }
                }
                Ok(Unambiguous)
            }
        }
        deserializer.deserialize_any(AnyValue)
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Fields, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields;
            fn expecting(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
                formatter.write_str("a JSON object")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Fields, M::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Object)
    }
}
