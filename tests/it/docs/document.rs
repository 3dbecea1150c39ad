//! A document in Markdown, taken apart.

use std::fs;
use std::path::{Path, PathBuf};

use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag, TagEnd};

/// Where the documents are, beside the README.
const FOLDERS: [&str; 5] = ["docs", "docs/apps", "deploy", "benches", ".github"];

pub struct Document {
    /// Its path in the repository.
    pub name: String,
    pub text: String,
    pub blocks: Vec<Block>,
    /// Code within lines.
    pub spans: Vec<String>,
    /// The targets of links and pictures.
    pub links: Vec<String>,
    /// The anchors of its headings, as GitHub makes them.
    pub anchors: Vec<String>,
}

/// A block of code.
pub struct Block {
    /// `sh`, `console` and the like; empty if it says none.
    pub language: String,
    pub text: String,
}

impl Block {
    /// Its lines without comments and empty lines. A continued line is one line.
    pub fn lines(&self) -> Vec<String> {
        let whole = self.text.replace("\\\n", " ");
        let code = whole
            .lines()
            .map(|line| line.split(" # ").next().unwrap_or_default().trim().to_owned());
        code.filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
    }
}

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every document of the repository.
pub fn documents() -> Vec<Document> {
    let in_folder = |folder: &str| {
        let entries =
            fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().file_name());
        entries
            .map(|name| format!("{folder}/{}", name.display()))
            .filter(|name| name.ends_with(".md"))
            .collect()
    };
    let mut names: Vec<String> =
        FOLDERS.iter().flat_map(|folder| -> Vec<String> { in_folder(folder) }).collect();
    names.push("README.md".to_owned());
    assert!(names.len() > 7, "{names:?}");
    names.iter().map(|name| document(name)).collect()
}

pub fn document(name: &str) -> Document {
    let text = fs::read_to_string(root().join(name)).unwrap();
    let mut document = Document {
        name: name.to_owned(),
        blocks: Vec::new(),
        spans: Vec::new(),
        links: Vec::new(),
        anchors: Vec::new(),
        text: text.clone(),
    };
    let (mut heading, mut block) = (None, None);
    for event in Parser::new(&text) {
        match event {
            Event::Start(Tag::CodeBlock(kind)) => {
                let language = match kind {
                    CodeBlockKind::Fenced(language) => language.into_string(),
                    CodeBlockKind::Indented => String::new(),
                };
                block = Some(Block { language, text: String::new() });
            }
            Event::End(TagEnd::CodeBlock) => document.blocks.extend(block.take()),
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => {
                document.anchors.extend(heading.take().map(|heading| anchor(&heading)))
            }
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                document.links.push(dest_url.into_string());
            }
            Event::Code(code) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&code);
                }
                document.spans.push(code.into_string());
            }
            Event::Text(text) => match (&mut heading, &mut block) {
                (Some(heading), _) => heading.push_str(&text),
                (None, Some(block)) => block.text.push_str(&text),
                (None, None) => {}
            },
            _ => {}
        }
    }
    document
}

fn anchor(heading: &str) -> String {
    let kept = heading
        .to_lowercase()
        .replace(|c: char| !c.is_alphanumeric() && !matches!(c, ' ' | '-' | '_'), "");
    kept.replace(' ', "-")
}

/// The path in the repository to which a relative link in that document leads.
pub fn target(document: &Document, link: &str) -> PathBuf {
    let folder = Path::new(&document.name).parent().unwrap_or(Path::new(""));
    root().join(folder).join(link)
}
