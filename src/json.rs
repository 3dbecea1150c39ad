//! A JSON object as it was sent: its fields in order, including duplicates.
//!
//! RFC 8259 leaves the meaning of a repeated name open, and two parsers that choose differently are
//! a security hole. So whatever reads foreign objects (claims, token headers, JSON bodies) looks at
//! every field.

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
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
