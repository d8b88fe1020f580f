//! URIs in what an upstream answers, made into those that the node offers: a link that a tool gives can be read here.

use rmcp::model::{CallToolResult, ContentBlock, GetPromptResult, ReadResourceResult, ResourceContents};

use super::names::Names;

impl Names {
    /// In a tool's result.
    pub(super) fn rewrite_tool(&self, result: &mut CallToolResult) {
        if !self.are_plain() {
            result
                .content
                .iter_mut()
                .for_each(|block| self.rewrite_block(block));
        }
    }

    /// In a prompt.
    pub(super) fn rewrite_prompt(&self, result: &mut GetPromptResult) {
        if !self.are_plain() {
            let messages = result.messages.iter_mut();
            messages.for_each(|message| self.rewrite_block(&mut message.content));
        }
    }

    /// In what was read.
    pub(super) fn rewrite_read(&self, result: &mut ReadResourceResult) {
        if !self.are_plain() {
            result
                .contents
                .iter_mut()
                .for_each(|contents| self.rewrite_contents(contents));
        }
    }

    fn rewrite_block(&self, block: &mut ContentBlock) {
        match block {
            ContentBlock::ResourceLink(link) => link.uri = self.offered_uri(&link.uri),
            ContentBlock::Resource(embedded) => self.rewrite_contents(&mut embedded.resource),
            _ => {}
        }
    }

    fn rewrite_contents(&self, contents: &mut ResourceContents) {
        match contents {
            ResourceContents::TextResourceContents { uri, .. }
            | ResourceContents::BlobResourceContents { uri, .. } => *uri = self.offered_uri(uri),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json, to_value};

    use super::*;

    #[test]
    fn links_lead_to_the_node() {
        let given = json!({"content": [
            {"type": "text", "text": "file:///a"},
            {"type": "resource_link", "uri": "file:///a", "name": "a"},
            {"type": "resource", "resource": {"uri": "file:///b", "text": "b"}},
        ]});
        let mut result: CallToolResult = from_value(given.clone()).unwrap();
        Names::new(String::new()).rewrite_tool(&mut result);
        assert_eq!(to_value(&result).unwrap()["content"], given["content"]);
        Names::new("files".to_owned()).rewrite_tool(&mut result);
        let result = to_value(&result).unwrap();
        assert_eq!(result["content"][0]["text"], "file:///a");
        assert_eq!(result["content"][1]["uri"], "files+file:///a");
        assert_eq!(result["content"][2]["resource"]["uri"], "files+file:///b");
    }
}
