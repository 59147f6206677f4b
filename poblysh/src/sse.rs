//! Parser of server-sent events (WHATWG HTML, "Server-sent events").

/// An event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Event {
    /// The id, which is the position after the event.
    pub(crate) id: Option<String>,
    /// The type.
    pub(crate) name: Option<String>,
    /// The data; empty for an event that only sets the id.
    pub(crate) data: String,
}

/// A stream whose events are larger than this is not one of the API.
const MAX_BUFFERED: usize = 16 << 20;

/// The error of a line or an event that does not end.
#[derive(Debug, thiserror::Error)]
#[error("the stream has an event of more than 16 MiB")]
pub(crate) struct TooLarge;

/// A parser that takes the stream in chunks of any size.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    /// The bytes of the line that has not ended.
    line: Vec<u8>,
    event: Event,
}

impl Parser {
    /// Parses a chunk and returns the events that it completes.
    pub(crate) fn push(&mut self, chunk: &[u8]) -> Result<Vec<Event>, TooLarge> {
        let mut events = Vec::new();
        let mut lines = chunk.split(|byte| *byte == b'\n');
        // The part after the last line feed belongs to the next chunk.
        let rest = lines.next_back().unwrap_or_default();
        for line in lines {
            self.line.extend_from_slice(line);
            let line = std::mem::take(&mut self.line);
            let line = String::from_utf8_lossy(&line);
            events.extend(self.end_line(line.strip_suffix('\r').unwrap_or(&line)));
        }
        self.line.extend_from_slice(rest);
        if self.line.len() + self.event.data.len() > MAX_BUFFERED {
            return Err(TooLarge);
        }
        Ok(events)
    }

    /// Interprets a line; an empty one ends an event.
    fn end_line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let mut event = std::mem::take(&mut self.event);
            // Each line of data ended with a line feed, and the last one does not count.
            event.data.pop();
            return (event != Event::default()).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.event.id = Some(value.to_owned()),
            "event" => self.event.name = Some(value.to_owned()),
            "data" => {
                self.event.data.push_str(value);
                self.event.data.push('\n');
            }
            // A comment, or a field of no meaning here.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The events of a stream that arrives in these chunks.
    fn parse<'c>(chunks: impl IntoIterator<Item = &'c [u8]>) -> Vec<Event> {
        let mut parser = Parser::default();
        let parsed = chunks
            .into_iter()
            .map(|chunk| parser.push(chunk).expect("small"));
        parsed.collect::<Vec<_>>().concat()
    }

    fn event(id: &str, name: Option<&str>, data: &str) -> Event {
        Event {
            id: Some(id.to_owned()),
            name: name.map(str::to_owned),
            data: data.to_owned(),
        }
    }

    #[test]
    fn events_of_the_api_are_parsed() {
        let stream =
            b"id: a\n\n: keep-alive\n\nevent: signal\nid: b\ndata: {\"x\":1}\n\nevent: sig";
        assert_eq!(
            parse([&stream[..]]),
            [
                event("a", None, ""),
                event("b", Some("signal"), "{\"x\":1}")
            ]
        );
    }

    #[test]
    fn endless_line_is_an_error() {
        let mut parser = Parser::default();
        let chunk = vec![b'x'; MAX_BUFFERED / 2 + 1];
        assert!(parser.push(&chunk).is_ok());
        assert!(parser.push(&chunk).is_err());
    }

    /// One event as a server writes it.
    fn write(event: &Event, line_end: &str) -> String {
        let mut text = String::new();
        let mut field = |name: &str, value: &str| {
            text.extend([name, ": ", value, line_end]);
        };
        if let Some(id) = &event.id {
            field("id", id);
        }
        if let Some(name) = &event.name {
            field("event", name);
        }
        for line in event.data.split('\n') {
            field("data", line);
        }
        text + line_end
    }

    proptest! {
        #[test]
        fn written_events_are_parsed_in_any_chunks(
            parts in prop::collection::vec(("[a-z0-9]{1,9}", "[a-z]{0,6}", "[ -~\n\u{e9}\u{4e2d}]{1,60}"), 0..6),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..9),
            carriage_return in any::<bool>(),
        ) {
            let events: Vec<Event> = parts
                .iter()
                .map(|(id, name, data)| event(id, (!name.is_empty()).then_some(name), data))
                .collect();
            let line_end = if carriage_return { "\r\n" } else { "\n" };
            let stream: String = events.iter().map(|event| write(event, line_end)).collect();
            let bytes = stream.as_bytes();
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            at.extend([0, bytes.len()]);
            at.sort_unstable();
            let chunks = at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]);
            prop_assert_eq!(parse(chunks), events);
        }

        #[test]
        fn any_bytes_are_parsed_without_panic(chunks in prop::collection::vec(any::<Vec<u8>>(), 0..9)) {
            parse(chunks.iter().map(Vec::as_slice));
        }
    }
}
