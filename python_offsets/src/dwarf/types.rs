//! C structures in debug information: finding them by name, their sizes, and their members by path.

use std::collections::HashMap;
use std::rc::Rc;

use gimli::{
    AttributeValue, DebugInfoOffset, DebuggingInformationEntry, DwAt, Dwarf, EndianSlice, LittleEndian, Unit,
    UnitHeader, UnitOffset, UnitSectionOffset,
};

use super::DwarfError;

type Slice<'a> = EndianSlice<'a, LittleEndian>;
type Entry<'a> = DebuggingInformationEntry<Slice<'a>>;

/// No name stands for a name so often; a longer chain is a circle.
const LONGEST_CHAIN: usize = 32;

/// No structure has unnamed ones nested so deep.
const DEEPEST_UNNAMED: usize = 4;

/// The structures that were looked for, by the name that each was asked for with.
pub(super) struct Types<'a> {
    dwarf: &'a Dwarf<Slice<'a>>,
    units: Vec<UnitHeader<Slice<'a>>>,
    found: HashMap<&'static str, Type<'a>>,
}

/// A type's entry, and the unit that it is in.
#[derive(Clone)]
struct Type<'a> {
    unit: Rc<Unit<Slice<'a>>>,
    offset: UnitOffset,
}

/// A member of a structure, wherever in its nested structures.
struct Member<'a> {
    /// Bytes from the start of the outermost structure.
    offset: u64,
    unit: Rc<Unit<Slice<'a>>>,
    entry: Entry<'a>,
}

impl<'a> Types<'a> {
    /// Looks through the units until each wanted structure's definition has been found. Each is wanted by any of its
    /// names (tag or typedef), and kept under the first.
    pub(super) fn find(
        dwarf: &'a Dwarf<Slice<'a>>,
        wanted: &[&'static [&'static str]],
    ) -> Result<Types<'a>, DwarfError> {
        let mut headers = dwarf.units();
        let mut units = Vec::new();
        while let Some(header) = headers.next()? {
            units.push(header);
        }
        let mut types = Types { dwarf, units, found: HashMap::new() };
        for header in types.units.clone() {
            if types.found.len() == wanted.len() {
                break;
            }
            types.search(Rc::new(dwarf.unit(header)?), wanted)?;
        }
        Ok(types)
    }

    /// Looks at the types that a unit has at its top level, which in C is all of them.
    fn search(&mut self, unit: Rc<Unit<Slice<'a>>>, wanted: &[&'static [&'static str]]) -> Result<(), DwarfError> {
        let mut entries = unit.entries();
        entries.next_dfs()?;
        let mut next = entries.next_dfs()?;
        while let Some(entry) = next {
            if matches!(entry.tag(), gimli::DW_TAG_structure_type | gimli::DW_TAG_typedef) {
                self.consider(&unit, entry, wanted)?;
            }
            next = entries.next_sibling()?;
        }
        Ok(())
    }

    fn consider(
        &mut self,
        unit: &Rc<Unit<Slice<'a>>>,
        entry: &Entry<'a>,
        wanted: &[&'static [&'static str]],
    ) -> Result<(), DwarfError> {
        let Some(name) = self.name(unit, entry)? else { return Ok(()) };
        let is_named = |names: &&&[&str]| names.iter().any(|wanted| wanted.as_bytes() == name.slice());
        let Some(key) = wanted.iter().find(is_named).and_then(|names| names.first()) else { return Ok(()) };
        if self.found.contains_key(key) {
            return Ok(());
        }
        let here = Type { unit: Rc::clone(unit), offset: entry.offset() };
        if let Some(definition) = self.definition(here)? {
            self.found.insert(key, definition);
        }
        Ok(())
    }

    /// `sizeof` a structure, in bytes.
    pub(super) fn size(&self, structure: &'static str) -> Result<usize, DwarfError> {
        let found = self.structure(structure)?;
        let entry = found.unit.entry(found.offset)?;
        let size = entry.attr_value(gimli::DW_AT_byte_size).and_then(|value| value.udata_value());
        size.and_then(|size| usize::try_from(size).ok()).ok_or(DwarfError::NoSize(structure))
    }

    /// `offsetof` the member at a path such as `threads.head`, in bytes; the names of unnamed structures and unions
    /// on the way are left out, as in C.
    pub(super) fn offset(&self, structure: &'static str, path: &str) -> Result<Option<usize>, DwarfError> {
        let member = self.path(structure, path)?;
        Ok(member.and_then(|member| usize::try_from(member.offset).ok()))
    }

    /// The lowest bit of the bit field at a path, counted from the start of the structure that it is a direct member
    /// of.
    pub(super) fn bit(&self, structure: &'static str, path: &str) -> Result<Option<u32>, DwarfError> {
        let Some(member) = self.path(structure, path)? else { return Ok(None) };
        let number = |name: DwAt| member.entry.attr_value(name).and_then(|value| value.udata_value());
        let bit = match number(gimli::DW_AT_data_bit_offset) {
            Some(bit) => Some(bit),
            None => self.old_bit(&member, number(gimli::DW_AT_bit_offset), number(gimli::DW_AT_bit_size))?,
        };
        Ok(bit.and_then(|bit| u32::try_from(bit).ok()))
    }

    /// DWARF before version 4 counts from the highest bit of the storage unit.
    fn old_bit(
        &self,
        member: &Member<'a>,
        from_top: Option<u64>,
        width: Option<u64>,
    ) -> Result<Option<u64>, DwarfError> {
        let own = location(&member.entry)?.unwrap_or(0);
        let bytes = member.entry.attr_value(gimli::DW_AT_byte_size).and_then(|value| value.udata_value());
        let bytes = match bytes {
            Some(bytes) => Some(bytes),
            None => self.storage(member)?,
        };
        let (Some(bytes), Some(from_top), Some(width)) = (bytes, from_top, width) else { return Ok(None) };
        Ok((own + bytes).checked_mul(8).and_then(|end| end.checked_sub(from_top.checked_add(width)?)))
    }

    /// Size of a member's type, in bytes.
    fn storage(&self, member: &Member<'a>) -> Result<Option<u64>, DwarfError> {
        let Some(of) = self.target(&member.unit, &member.entry)? else { return Ok(None) };
        let entry = of.unit.entry(of.offset)?;
        Ok(entry.attr_value(gimli::DW_AT_byte_size).and_then(|value| value.udata_value()))
    }

    fn structure(&self, name: &'static str) -> Result<&Type<'a>, DwarfError> {
        self.found.get(name).ok_or(DwarfError::NoStructure(name))
    }

    fn path(&self, structure: &'static str, path: &str) -> Result<Option<Member<'a>>, DwarfError> {
        let mut at = self.structure(structure)?.clone();
        let mut base = 0u64;
        let mut names = path.split('.').peekable();
        while let Some(name) = names.next() {
            let Some(member) = self.member(&at, name, DEEPEST_UNNAMED)? else { return Ok(None) };
            base = base.checked_add(member.offset).ok_or(DwarfError::Location)?;
            if names.peek().is_none() {
                return Ok(Some(Member { offset: base, ..member }));
            }
            match self.target(&member.unit, &member.entry)? {
                Some(inner) => at = inner,
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    /// A member of a structure or of the unnamed structures and unions in it.
    fn member(&self, of: &Type<'a>, wanted: &str, depth: usize) -> Result<Option<Member<'a>>, DwarfError> {
        let mut tree = of.unit.entries_tree(Some(of.offset))?;
        let mut members = tree.root()?.children();
        while let Some(node) = members.next()? {
            let entry = node.entry();
            if entry.tag() != gimli::DW_TAG_member {
                continue;
            }
            let found = match self.name(&of.unit, entry)? {
                Some(name) if name.slice() == wanted.as_bytes() => Some(direct(of, entry)?),
                Some(_) => None,
                None => self.member_of_unnamed(of, entry, wanted, depth)?,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn member_of_unnamed(
        &self,
        of: &Type<'a>,
        unnamed: &Entry<'a>,
        wanted: &str,
        depth: usize,
    ) -> Result<Option<Member<'a>>, DwarfError> {
        let Some(depth) = depth.checked_sub(1) else { return Ok(None) };
        let Some(inner) = self.target(&of.unit, unnamed)? else { return Ok(None) };
        let Some(member) = self.member(&inner, wanted, depth)? else { return Ok(None) };
        let offset = location(unnamed)?.unwrap_or(0).saturating_add(member.offset);
        Ok(Some(Member { offset, ..member }))
    }

    /// The type of an entry, behind typedefs and qualifiers.
    fn target(&self, unit: &Rc<Unit<Slice<'a>>>, entry: &Entry<'a>) -> Result<Option<Type<'a>>, DwarfError> {
        match self.type_of(unit, entry)? {
            Some(to) => self.behind_names(to),
            None => Ok(None),
        }
    }

    fn behind_names(&self, mut at: Type<'a>) -> Result<Option<Type<'a>>, DwarfError> {
        for _ in 0..LONGEST_CHAIN {
            let entry = at.unit.entry(at.offset)?;
            let is_name = matches!(
                entry.tag(),
                gimli::DW_TAG_typedef
                    | gimli::DW_TAG_const_type
                    | gimli::DW_TAG_volatile_type
                    | gimli::DW_TAG_atomic_type
            );
            if !is_name {
                return Ok(Some(at));
            }
            match self.type_of(&at.unit, &entry)? {
                Some(to) => at = to,
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    /// The structure that a name stands for, unless this unit only declares it.
    fn definition(&self, name: Type<'a>) -> Result<Option<Type<'a>>, DwarfError> {
        let Some(at) = self.behind_names(name)? else { return Ok(None) };
        let entry = at.unit.entry(at.offset)?;
        let is_defined = entry.tag() == gimli::DW_TAG_structure_type && !entry.has_attr(gimli::DW_AT_declaration);
        Ok(is_defined.then_some(at))
    }

    fn type_of(&self, unit: &Rc<Unit<Slice<'a>>>, entry: &Entry<'a>) -> Result<Option<Type<'a>>, DwarfError> {
        match entry.attr_value(gimli::DW_AT_type) {
            Some(AttributeValue::UnitRef(offset)) => Ok(Some(Type { unit: Rc::clone(unit), offset })),
            Some(AttributeValue::DebugInfoRef(offset)) => self.elsewhere(offset).map(Some),
            Some(AttributeValue::DebugInfoRefSup(_)) => Err(DwarfError::Supplement),
            _ => Ok(None),
        }
    }

    /// A type in another unit.
    fn elsewhere(&self, offset: DebugInfoOffset) -> Result<Type<'a>, DwarfError> {
        let starts_before =
            |header: &UnitHeader<Slice<'a>>| header.debug_info_offset().is_some_and(|start| start.0 <= offset.0);
        let index = self.units.partition_point(starts_before).checked_sub(1).ok_or(DwarfError::Reference)?;
        let header = self.units[index];
        let inside = UnitSectionOffset(offset.0).to_unit_offset(&header).ok_or(DwarfError::Reference)?;
        Ok(Type { unit: Rc::new(self.dwarf.unit(header)?), offset: inside })
    }

    fn name(&self, unit: &Unit<Slice<'a>>, entry: &Entry<'a>) -> Result<Option<Slice<'a>>, DwarfError> {
        match entry.attr_value(gimli::DW_AT_name) {
            Some(AttributeValue::DebugStrRefSup(_)) => Err(DwarfError::Supplement),
            Some(value) => Ok(Some(self.dwarf.attr_string(unit, value)?)),
            None => Ok(None),
        }
    }
}

fn direct<'a>(of: &Type<'a>, entry: &Entry<'a>) -> Result<Member<'a>, DwarfError> {
    Ok(Member { offset: location(entry)?.unwrap_or(0), unit: Rc::clone(&of.unit), entry: entry.clone() })
}

/// Bytes from the start of the structure. Absent for members of a union, and for bit fields of DWARF 5.
fn location(entry: &Entry) -> Result<Option<u64>, DwarfError> {
    match entry.attr_value(gimli::DW_AT_data_member_location) {
        Some(AttributeValue::Exprloc(expression)) => plus_constant(expression.0).map(Some),
        Some(value) => Ok(value.udata_value()),
        None => Ok(None),
    }
}

/// `DW_OP_plus_uconst`: how DWARF 2 writes a constant offset.
fn plus_constant(mut expression: Slice) -> Result<u64, DwarfError> {
    use gimli::Reader;
    match expression.read_u8()? {
        0x23 => Ok(expression.read_uleb128()?),
        _ => Err(DwarfError::Location),
    }
}

#[cfg(test)]
mod tests {
    use gimli::write::{
        Address, AttributeValue as Value, Dwarf as Writer, EndianVec, Expression, LineProgram, Sections,
        Unit as NewUnit, UnitEntryId,
    };
    use gimli::{DwTag, Encoding, Format, SectionId};

    use super::*;

    const WANTED: &[&[&str]] = &[&["tag", "alias"]];

    /// A unit to which types are added.
    struct Source {
        unit: NewUnit,
    }

    impl Source {
        fn new(version: u16) -> Self {
            let encoding = Encoding { format: Format::Dwarf32, version, address_size: 8 };
            Source { unit: NewUnit::new(encoding, LineProgram::none()) }
        }

        fn entry(&mut self, tag: DwTag, name: &str) -> UnitEntryId {
            let id = self.unit.add(self.unit.root(), tag);
            if !name.is_empty() {
                self.unit.get_mut(id).set(gimli::DW_AT_name, Value::String(name.into()));
            }
            id
        }

        fn structure(&mut self, name: &str, size: u8) -> UnitEntryId {
            let id = self.entry(gimli::DW_TAG_structure_type, name);
            self.unit.get_mut(id).set(gimli::DW_AT_byte_size, Value::Data1(size));
            id
        }

        fn named(&mut self, tag: DwTag, name: &str, of: UnitEntryId) -> UnitEntryId {
            let id = self.entry(tag, name);
            self.unit.get_mut(id).set(gimli::DW_AT_type, Value::UnitRef(of));
            id
        }

        fn member(&mut self, of: UnitEntryId, name: &str, at: u64, kind: Option<UnitEntryId>) -> UnitEntryId {
            let id = self.unit.add(of, gimli::DW_TAG_member);
            let entry = self.unit.get_mut(id);
            if !name.is_empty() {
                entry.set(gimli::DW_AT_name, Value::String(name.into()));
            }
            entry.set(gimli::DW_AT_data_member_location, Value::Udata(at));
            if let Some(kind) = kind {
                entry.set(gimli::DW_AT_type, Value::UnitRef(kind));
            }
            id
        }

        fn set(&mut self, id: UnitEntryId, name: DwAt, value: Value) {
            self.unit.get_mut(id).set(name, value);
        }
    }

    fn written(units: Vec<Source>) -> HashMap<SectionId, Vec<u8>> {
        let mut dwarf = Writer::new();
        for types in units {
            dwarf.units.add(types.unit);
        }
        let mut sections = Sections::new(EndianVec::new(LittleEndian));
        dwarf.write(&mut sections).unwrap();
        let mut written = HashMap::new();
        let keep = |id, data: &EndianVec<LittleEndian>| -> Result<(), gimli::write::Error> {
            written.insert(id, data.slice().to_vec());
            Ok(())
        };
        sections.for_each(keep).unwrap();
        written
    }

    /// What `ask` learns from the types in `units`.
    fn asked<T>(units: Vec<Source>, ask: impl Fn(&Types) -> Result<T, DwarfError>) -> Result<T, DwarfError> {
        let sections = written(units);
        let section = |id| Ok(EndianSlice::new(sections.get(&id).map_or(&[][..], Vec::as_slice), LittleEndian));
        let dwarf = Dwarf::load(section).map_err(|error: gimli::Error| error)?;
        ask(&Types::find(&dwarf, WANTED)?)
    }

    #[test]
    fn a_structure_is_found_by_tag_and_by_typedef_in_each_version_of_dwarf() {
        for version in 2..=5 {
            let mut by_tag = Source::new(version);
            by_tag.structure("tag", 24);
            assert_eq!(asked(vec![by_tag], |types| types.size("tag")).unwrap(), 24);
            let mut by_typedef = Source::new(version);
            let unnamed = by_typedef.structure("", 32);
            by_typedef.named(gimli::DW_TAG_typedef, "alias", unnamed);
            assert_eq!(asked(vec![by_typedef], |types| types.size("tag")).unwrap(), 32);
        }
    }

    #[test]
    fn a_declaration_in_one_unit_gives_way_to_the_definition_in_another() {
        let mut declared = Source::new(5);
        let only_declared = declared.entry(gimli::DW_TAG_structure_type, "tag");
        declared.set(only_declared, gimli::DW_AT_declaration, Value::Flag(true));
        declared.named(gimli::DW_TAG_typedef, "alias", only_declared);
        let mut defined = Source::new(5);
        defined.structure("tag", 16);
        assert_eq!(asked(vec![declared, defined], |types| types.size("tag")).unwrap(), 16);
    }

    #[test]
    fn a_path_leads_through_named_and_unnamed_structures_and_qualifiers() {
        let mut types = Source::new(5);
        let innermost = types.structure("", 16);
        types.member(innermost, "head", 8, None);
        let renamed = types.named(gimli::DW_TAG_typedef, "threads_t", innermost);
        let qualified = types.named(gimli::DW_TAG_volatile_type, "", renamed);
        let union = types.entry(gimli::DW_TAG_union_type, "");
        types.member(union, "threads", 0, Some(qualified));
        let outer = types.structure("tag", 64);
        types.member(outer, "next", 0, None);
        types.member(outer, "", 32, Some(union));
        let offsets = |types: &Types| {
            ["next", "threads", "threads.head", "threads.main", "next.head", "head"]
                .into_iter()
                .map(|path| types.offset("tag", path))
                .collect::<Result<Vec<_>, _>>()
        };
        assert_eq!(asked(vec![types], offsets).unwrap(), [Some(0), Some(32), Some(40), None, None, None]);
    }

    #[test]
    fn an_offset_may_be_an_expression() {
        let mut types = Source::new(2);
        let outer = types.structure("tag", 200);
        let member = types.member(outer, "next", 0, None);
        let mut plus = Expression::new();
        plus.op_plus_uconst(136);
        types.set(member, gimli::DW_AT_data_member_location, Value::Exprloc(plus));
        assert_eq!(asked(vec![types], |types| types.offset("tag", "next")).unwrap(), Some(136));
    }

    #[test]
    fn an_offset_that_is_computed_is_refused() {
        let mut types = Source::new(5);
        let outer = types.structure("tag", 200);
        let member = types.member(outer, "next", 0, None);
        let mut address = Expression::new();
        address.op_addr(Address::Constant(1));
        types.set(member, gimli::DW_AT_data_member_location, Value::Exprloc(address));
        assert!(matches!(asked(vec![types], |types| types.offset("tag", "next")), Err(DwarfError::Location)));
    }

    #[test]
    fn a_bit_field_counts_from_the_lowest_bit_in_old_and_new_notation() {
        let mut new = Source::new(5);
        let outer = new.structure("tag", 4);
        let kind = new.member(outer, "kind", 0, None);
        new.set(kind, gimli::DW_AT_data_bit_offset, Value::Udata(2));
        assert_eq!(asked(vec![new], |types| types.bit("tag", "kind")).unwrap(), Some(2));
        let mut old = Source::new(3);
        let int = old.entry(gimli::DW_TAG_base_type, "unsigned int");
        old.set(int, gimli::DW_AT_byte_size, Value::Data1(4));
        let outer = old.structure("tag", 4);
        let kind = old.member(outer, "kind", 0, Some(int));
        old.set(kind, gimli::DW_AT_bit_offset, Value::Udata(27));
        old.set(kind, gimli::DW_AT_bit_size, Value::Udata(3));
        assert_eq!(asked(vec![old], |types| types.bit("tag", "kind")).unwrap(), Some(2));
    }

    #[test]
    fn types_that_lead_in_a_circle_end() {
        let mut types = Source::new(5);
        let one = types.entry(gimli::DW_TAG_typedef, "tag");
        let other = types.named(gimli::DW_TAG_typedef, "other", one);
        types.set(one, gimli::DW_AT_type, Value::UnitRef(other));
        assert!(matches!(asked(vec![types], |types| types.size("tag")), Err(DwarfError::NoStructure("tag"))));
        let mut nested = Source::new(5);
        let outer = nested.structure("tag", 8);
        nested.member(outer, "", 0, Some(outer));
        assert_eq!(asked(vec![nested], |types| types.offset("tag", "next")).unwrap(), None);
    }
}
