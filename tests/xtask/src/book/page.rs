//! One page of Markdown: its blocks with their marks, its headings, its links.

use std::collections::BTreeSet;

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use xtask::{Fault, Outcome};

/// A page of the book, or README and its like.
pub(super) struct Page {
    /// Below the workspace: `docs/start.md`.
    pub(super) path: String,
    pub(super) blocks: Vec<Block>,
    /// What a link may name after `#`.
    pub(super) anchors: BTreeSet<String>,
    pub(super) links: Vec<Link>,
    /// The page, beside this one, whose commands the reader has run before these.
    pub(super) continues: Option<String>,
}

/// A fenced block.
#[derive(Default)]
pub(super) struct Block {
    /// The line of its first fence.
    pub(super) line: usize,
    /// The first word behind the fence.
    pub(super) language: String,
    pub(super) text: String,
    /// `not run: REASON`: it cannot run here.
    pub(super) not_run: Option<String>,
    /// `keeps running: URL`: it goes on in a terminal of its own, and is ready when the address answers.
    pub(super) keeps_running: Option<String>,
    /// `exits N`: it ends with that code.
    pub(super) exits: Option<i32>,
    /// `output`: what the commands before it print; `…` stands for anything.
    pub(super) is_output: bool,
    /// `from PATH`: a piece of that file of the project, which the reader has in their folder.
    pub(super) from: Option<String>,
    /// `save NAME`: the reader saves it under that name.
    pub(super) save: Option<String>,
}

/// Where a link leads, and where it stands.
pub(super) struct Link {
    pub(super) line: usize,
    pub(super) target: String,
}

impl Page {
    /// Reads a page.
    ///
    /// # Errors
    /// When a comment is no mark, or marks nothing.
    pub(super) fn read(path: &str, text: &str) -> Outcome<Self> {
        let mut page = Self {
            path: path.to_owned(),
            blocks: Vec::new(),
            anchors: BTreeSet::new(),
            links: Vec::new(),
            continues: None,
        };
        let line_at = |offset: usize| text[..offset].bytes().filter(|byte| *byte == b'\n').count() + 1;
        let (mut marks, mut open, mut heading): (Vec<(usize, String)>, Option<Block>, Option<String>) =
            (Vec::new(), None, None);
        let parser = Parser::new_ext(text, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH);
        for (event, range) in parser.into_offset_iter() {
            let line = line_at(range.start);
            match event {
                Event::Html(html) | Event::InlineHtml(html) => {
                    marks.extend(comment(&html).map(|mark| (line, mark)));
                }
                Event::Start(Tag::CodeBlock(kind)) => {
                    let mut block = begin(line, &kind);
                    for (line, mark) in marks.drain(..) {
                        page.mark(&mut block, &mark)
                            .map_err(|fault| Fault::new(format!("{path}:{line}: {fault}")))?;
                    }
                    open = Some(block);
                }
                Event::End(TagEnd::CodeBlock) => page.blocks.extend(open.take()),
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    let name = anchor(&heading.take().unwrap_or_default());
                    page.add_anchor(&name);
                }
                Event::Start(Tag::Link { dest_url, .. }) => page.links.push(Link {
                    line,
                    target: dest_url.to_string(),
                }),
                Event::Text(text) | Event::Code(text) => match (&mut open, &mut heading) {
                    (Some(block), _) => block.text.push_str(&text),
                    (None, Some(heading)) => heading.push_str(&text),
                    (None, None) => {}
                },
                Event::Start(Tag::Paragraph) if !marks.is_empty() => {
                    return Err(Fault::new(format!(
                        "{path}:{line}: the mark before this marks no block"
                    )));
                }
                _ => {}
            }
        }
        Ok(page)
    }

    fn mark(&mut self, block: &mut Block, mark: &str) -> Outcome<()> {
        let word = |name: &str| mark.strip_prefix(name).map(|rest| rest.trim().to_owned());
        if let Some(reason) = word("not run:").filter(|reason| !reason.is_empty()) {
            block.not_run = Some(reason);
        } else if let Some(address) = word("keeps running:") {
            block.keeps_running = Some(address);
        } else if let Some(code) = word("exits ") {
            block.exits = Some(
                code.parse()
                    .map_err(|_| Fault::new(format!("{mark:?}: no exit code")))?,
            );
        } else if mark == "output" {
            block.is_output = true;
        } else if let Some(path) = word("from ") {
            block.from = Some(path);
        } else if let Some(name) = word("save ") {
            block.save = Some(name);
        } else if let Some(page) = word("continues ") {
            self.continues = Some(page);
        } else {
            return Err(Fault::new(format!("{mark:?} is no mark that this test knows")));
        }
        Ok(())
    }

    /// Equal headings get numbers, as the forge and mdBook give them.
    fn add_anchor(&mut self, name: &str) {
        let mut anchor = name.to_owned();
        let mut number = 0;
        while !self.anchors.insert(anchor.clone()) {
            number += 1;
            anchor = format!("{name}-{number}");
        }
    }
}

impl Block {
    /// Whether the reader types it.
    pub(super) fn is_command(&self) -> bool {
        self.language == "sh"
    }
}

fn begin(line: usize, kind: &CodeBlockKind<'_>) -> Block {
    let language = match kind {
        CodeBlockKind::Fenced(info) => info.split([' ', ',']).next().unwrap_or_default().to_owned(),
        CodeBlockKind::Indented => String::new(),
    };
    Block {
        line,
        language,
        ..Block::default()
    }
}

/// What stands in a comment. One that begins with a capital letter is for people.
fn comment(html: &str) -> Option<String> {
    let inner = html.trim().strip_prefix("<!--")?.strip_suffix("-->")?.trim();
    (!inner.starts_with(char::is_uppercase)).then(|| inner.to_owned())
}

/// The name of a heading in links: small letters, no punctuation, `-` for spaces.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    heading
        .chars()
        .filter(kept)
        .collect::<String>()
        .trim()
        .to_lowercase()
        .replace(' ', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_marks_headings_and_links_are_read() {
        let text = "# A `b`, c\n\n<!-- For people -->\n\nSee [x](y.md#z).\n\n<!-- keeps running: http://h/ -->\n```sh\nserve\n```\n\n\
                    - item\n\n  <!-- not run: needs a browser -->\n  ```sh\n  open\n  ```\n\n# A `b`, c\n";
        let page = Page::read("p.md", text).unwrap();
        assert_eq!(Vec::from_iter(&page.anchors), ["a-b-c", "a-b-c-1"]);
        assert_eq!((page.links[0].line, page.links[0].target.as_str()), (5, "y.md#z"));
        let [serve, open] = &page.blocks[..] else {
            panic!("{}", page.blocks.len())
        };
        assert_eq!((serve.line, serve.text.as_str()), (8, "serve\n"));
        assert_eq!(serve.keeps_running.as_deref(), Some("http://h/"));
        assert_eq!(
            (open.text.as_str(), open.not_run.as_deref()),
            ("open\n", Some("needs a browser"))
        );
    }

    #[test]
    fn a_mark_that_is_unknown_or_marks_nothing_is_a_fault() {
        assert!(Page::read("p.md", "<!-- nor run: x -->\n```sh\n```\n").is_err());
        assert!(Page::read("p.md", "<!-- not run: -->\n```sh\n```\n").is_err());
        assert!(Page::read("p.md", "<!-- not run: x -->\n\nText.\n").is_err());
    }
}
