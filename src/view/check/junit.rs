//! A verdict as JUnit's XML, as CI servers read it.

use std::io::{self, Write};

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

use super::{Verdict, which};
use crate::aggregate::diff::Growth;
use crate::printable::printable;
use crate::view::diff::method;

const SUITE: &str = "pysample check";

/// Writes one test suite.
pub fn write(verdict: &Verdict, out: &mut dyn Write) -> io::Result<()> {
    let (tests, failures) = (verdict.growths.len().to_string(), verdict.failures().count().to_string());
    let counts = [("name", SUITE), ("tests", &tests), ("failures", &failures), ("errors", "0"), ("time", "0")];
    let mut writer = Writer::new_with_indent(&mut *out, b' ', 2);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    writer.create_element("testsuites").with_attributes(counts).write_inner_content(|writer| {
        let suite = writer.create_element("testsuite").with_attributes(counts).with_attribute(("skipped", "0"));
        suite.write_inner_content(|writer| {
            verdict.growths.iter().try_for_each(|growth| write_case(verdict, growth, writer))?;
            let method = method(&verdict.sides, verdict.confidence);
            writer.create_element("system-out").write_text_content(BytesText::new(&method)).map(drop)
        })?;
        Ok(())
    })?;
    writeln!(out)
}

fn write_case<W: Write>(verdict: &Verdict, growth: &Growth, writer: &mut Writer<W>) -> io::Result<()> {
    let name = format!("{} ({})", printable(&growth.function.function), which(growth));
    let file = printable(&growth.function.file);
    let attributes = [("classname", &*file), ("name", name.as_str()), ("time", "0")];
    let case = writer.create_element("testcase").with_attributes(attributes);
    if !growth.is_too_much {
        return case.write_empty().map(drop);
    }
    let reason = verdict.reason(growth);
    case.write_inner_content(|writer| {
        let failure =
            writer.create_element("failure").with_attributes([("type", "growth"), ("message", reason.as_str())]);
        failure.write_text_content(BytesText::new(&format!("{}: {reason}", super::name(growth)))).map(drop)
    })
    .map(drop)
}
