//! One HTTP/1.1 answer, read to its own end: by length, by chunks, or until the connection closes.

use std::io::{ErrorKind, Read};

use crate::fault::{Explain, Fault, Outcome};

/// More than this from a program under test is a fault in itself.
const LARGEST: usize = 64 << 20;

/// Status, headers in their order, and the body.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Header names as sent, with their values.
    pub headers: Vec<(String, String)>,
    /// The body without its transfer coding.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first header of this name, in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Every header of this name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The body as text; what is not UTF-8 is replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// When it is not JSON; the sentence carries the status and the beginning of the body.
    pub fn json(&self) -> Outcome<serde_json::Value> {
        serde_json::from_slice(&self.body).explain(format!("no JSON in {self}"))
    }

    /// The JSON of a plain body, or of the last `data:` of an event stream.
    ///
    /// # Errors
    /// As [`Answer::json`].
    pub fn json_or_event(&self) -> Outcome<serde_json::Value> {
        if !self
            .header("content-type")
            .is_some_and(|kind| kind.starts_with("text/event-stream"))
        {
            return self.json();
        }
        let text = self.text();
        let last = text
            .lines()
            .filter_map(|line| line.strip_prefix("data:"))
            .map(str::trim)
            .rfind(|part| !part.is_empty());
        serde_json::from_str(last.explain("an event stream without an event")?)
            .explain("the last event is not JSON")
    }

    /// Reads one answer from `stream`.
    ///
    /// # Errors
    /// When the stream ends or stalls before the answer is whole, or it is not HTTP.
    pub fn read(stream: &mut impl Read, bodiless: bool) -> Outcome<Self> {
        let mut reader = Reader {
            stream,
            buffer: Vec::new(),
        };
        loop {
            let head = reader.until(b"\r\n\r\n")?;
            let (status, headers) = parse_head(&head)?;
            // 100 Continue and its kin come before the answer itself (RFC 9110 §15.2).
            if (100..200).contains(&status) {
                continue;
            }
            let mut answer = Self {
                status,
                headers,
                body: Vec::new(),
            };
            if !bodiless && !matches!(status, 204 | 304) {
                answer.body = reader.body(&answer)?;
            }
            return Ok(answer);
        }
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let beginning: String = self.text().chars().take(400).collect();
        write!(f, "HTTP {} {beginning}", self.status)
    }
}

fn parse_head(head: &[u8]) -> Outcome<(u16, Vec<(String, String)>)> {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let status = first
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3))
        .and_then(|digits| digits.parse().ok())
        .explain(format!("not an HTTP answer: {first}"))?;
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    Ok((status, headers))
}

struct Reader<'a, R> {
    stream: &'a mut R,
    buffer: Vec<u8>,
}

impl<R: Read> Reader<'_, R> {
    fn body(&mut self, answer: &Answer) -> Outcome<Vec<u8>> {
        if answer
            .header("transfer-encoding")
            .is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
        {
            return self.chunks();
        }
        match answer.header("content-length") {
            Some(length) => self.exactly(length.parse().explain(format!("not a length: {length}"))?),
            None => {
                while self.fill()? {}
                Ok(std::mem::take(&mut self.buffer))
            }
        }
    }

    fn chunks(&mut self) -> Outcome<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.until(b"\r\n")?;
            let digits = String::from_utf8_lossy(&line);
            let digits = digits.split(';').next().unwrap_or_default().trim();
            let length =
                usize::from_str_radix(digits, 16).explain(format!("not a chunk length: {digits}"))?;
            if length == 0 {
                self.until(b"\r\n")?;
                return Ok(body);
            }
            body.extend(self.exactly(length)?);
            self.until(b"\r\n")?;
        }
    }

    fn exactly(&mut self, length: usize) -> Outcome<Vec<u8>> {
        while self.buffer.len() < length {
            if !self.fill()? {
                return Err(Fault::new("the connection closed in the middle of an answer"));
            }
        }
        let rest = self.buffer.split_off(length);
        Ok(std::mem::replace(&mut self.buffer, rest))
    }

    fn until(&mut self, mark: &[u8]) -> Outcome<Vec<u8>> {
        loop {
            if let Some(at) = self.buffer.windows(mark.len()).position(|window| window == mark) {
                let found = self.exactly(at)?;
                self.exactly(mark.len())?;
                return Ok(found);
            }
            if !self.fill()? {
                return Err(Fault::new("the connection closed without an answer"));
            }
        }
    }

    fn fill(&mut self) -> Outcome<bool> {
        if self.buffer.len() > LARGEST {
            return Err(Fault::new("the answer is larger than 64 MiB"));
        }
        let mut piece = [0u8; 16 * 1024];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => return Ok(false),
                Ok(length) => {
                    self.buffer.extend_from_slice(&piece[..length]);
                    return Ok(true);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Err(Fault::new("no answer in time"));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Outcome<Answer> {
        Answer::read(&mut text.as_bytes(), false)
    }

    #[test]
    fn lengths_chunks_and_ends_are_read() {
        let plain = read("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: 1\r\nx: 2\r\n\r\nhello").unwrap();
        assert_eq!((plain.status, plain.text().as_str()), (200, "he"));
        assert_eq!(plain.all("X").collect::<Vec<_>>(), ["1", "2"]);
        let chunked =
            read("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;x\r\nd\r\n0\r\n\r\n")
                .unwrap();
        assert_eq!(chunked.text(), "abcd");
        assert_eq!(
            read("HTTP/1.1 404 \r\n\r\nto the end").unwrap().text(),
            "to the end"
        );
        assert_eq!(
            read("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 \r\n\r\n")
                .unwrap()
                .status,
            204
        );
    }

    #[test]
    fn broken_answers_are_faults() {
        for text in [
            "",
            "HTTP/1.1 200 OK\r\n",
            "SSH-2.0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx",
        ] {
            assert!(read(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_last_event_is_the_answer() {
        let text = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nid: 0\ndata:\n\ndata: {\"a\":1}\n\ndata: {\"a\":2}\n\n";
        assert_eq!(read(text).unwrap().json_or_event().unwrap()["a"], 2);
    }
}
