//! How much it takes to compile the functions of a module, estimated before it is done.
//!
//! The engine cannot be stopped within a function, and its time and memory grow with more than the
//! function's size. What they grow with was measured: the basic blocks, since dominators are found by
//! walking over them; the values that live across each of them; and the values that are passed to
//! calls, branches and blocks. At the limits a function takes some five seconds and half a GiB on
//! a machine of these days. The largest functions of compilers, interpreters and codecs that are in
//! use as WebAssembly have 41,000 blocks, carry 3.4 million values and pass 10,000.

use wasmparser::{
    BlockType, CompositeInnerType, FrameKind, FuncType, FuncValidator, FuncValidatorAllocations,
    FunctionBody, Operator, OperatorsReader, Parser, ValidPayload, Validator, WasmFeatures,
    WasmModuleResources,
};

use crate::error::LoadError;

/// What is counted of one function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Complexity {
    /// Basic blocks, those of stop points and traps included.
    blocks: u64,
    /// Values that live across a block, summed over the blocks.
    carried: u64,
    /// Values that are passed to calls, branches and blocks, and come back.
    passed: u64,
}

/// The most that a function may have.
const LIMIT: Complexity = Complexity {
    blocks: 50_000,
    carried: 5_000_000,
    passed: 300_000,
};

/// Refuses a module with a function that would take too long to compile. Its bytes are in the binary
/// format.
///
/// # Errors
///
/// [`LoadError::TooComplex`]; [`LoadError::Malformed`] if it is not valid.
pub(crate) fn check(wasm: &[u8]) -> Result<(), LoadError> {
    let mut found = None;
    let measured = measure(wasm, |function, complexity| {
        found = complexity
            .excess()
            .map(|excess| format!("function {function} {excess}"));
        found.is_none()
    });
    match (found, measured) {
        (Some(excess), _) => Err(LoadError::TooComplex(excess)),
        (None, Err(error)) => Err(LoadError::Malformed(error.to_string())),
        (None, Ok(())) => Ok(()),
    }
}

/// Measures one function after the other, for as long as `each` returns true.
fn measure(wasm: &[u8], mut each: impl FnMut(u32, Complexity) -> bool) -> wasmparser::Result<()> {
    let mut validator = Validator::new_with_features(WasmFeatures::all());
    let mut meter = Meter::default();
    let mut allocations = FuncValidatorAllocations::default();
    for payload in Parser::new(0).parse_all(wasm) {
        if let ValidPayload::Func(function, body) = validator.payload(&payload?)? {
            let index = function.index;
            let mut validator = function.into_validator(allocations);
            let complexity = meter.measure(&mut validator, &body)?;
            if !each(index, complexity) {
                break;
            }
            allocations = validator.into_allocations();
        }
    }
    Ok(())
}

impl Complexity {
    /// What there is too much of, if anything.
    fn excess(&self) -> Option<String> {
        [
            (self.blocks, LIMIT.blocks, "has", "blocks and branches"),
            (
                self.carried,
                LIMIT.carried,
                "keeps",
                "values across its blocks and branches, counted at each",
            ),
            (
                self.passed,
                LIMIT.passed,
                "passes",
                "values to calls, branches and blocks",
            ),
        ]
        .into_iter()
        .find(|(count, limit, ..)| count > limit)
        .map(|(count, limit, verb, what)| {
            format!(
                "{verb} {count} {what}, more than {limit}, and would take too long to compile; \
                 split it up, or build with less inlining"
            )
        })
    }
}

/// Counts over the functions of a module. What it knows of locals is not cleared between functions, but
/// stamped with numbers that are not used again.
#[derive(Default)]
struct Meter {
    /// The piece of straight code that is looked at.
    piece: u64,
    locals: Vec<Local>,
}

#[derive(Clone, Copy, Default)]
struct Local {
    /// The piece in which it was written last.
    written: u64,
    /// The function, by its first piece, in which it is known to live across blocks.
    crossing: u64,
}

impl Meter {
    fn measure<T: WasmModuleResources>(
        &mut self,
        validator: &mut FuncValidator<T>,
        body: &FunctionBody<'_>,
    ) -> wasmparser::Result<Complexity> {
        self.piece += 1;
        let first = self.piece;
        let mut crossing = 0_u64;
        // The entry, and its stop point.
        let mut counted = Complexity {
            blocks: 3,
            ..Complexity::default()
        };
        let mut reader = body.get_binary_reader();
        validator.read_locals(&mut reader)?;
        let mut operators = OperatorsReader::new(reader);
        while !operators.eof() {
            let (operator, offset) = operators.read_with_offset()?;
            let blocks = blocks(&operator);
            counted.blocks += blocks;
            counted.carried += blocks * u64::from(validator.operand_stack_height());
            counted.passed += passed(&operator, validator);
            // From here on it is known to be valid.
            validator.op(offset, &operator)?;
            match operator {
                Operator::LocalGet { local_index } => {
                    let piece = self.piece;
                    let local = self.local(local_index);
                    // Parameters and zeros are there from the start.
                    if local.written != piece && piece != first && local.crossing != first {
                        local.crossing = first;
                        crossing += 1;
                    }
                }
                Operator::LocalSet { local_index } | Operator::LocalTee { local_index } => {
                    let piece = self.piece;
                    self.local(local_index).written = piece;
                }
                Operator::Else => self.piece += 1,
                _ if blocks > 0 => self.piece += 1,
                _ => {}
            }
        }
        counted.carried += counted.blocks * crossing;
        Ok(counted)
    }

    fn local(&mut self, index: u32) -> &mut Local {
        let index = index as usize;
        if self.locals.len() <= index {
            self.locals.resize(index + 1, Local::default());
        }
        &mut self.locals[index]
    }
}

/// Basic blocks that an instruction adds, with its stop points and what its traps are made of.
fn blocks(operator: &Operator<'_>) -> u64 {
    match operator {
        Operator::Loop { .. } => 4,
        Operator::If { .. } => 2,
        Operator::End | Operator::BrIf { .. } => 1,
        Operator::BrTable { targets } => 1 + u64::from(targets.len()),
        Operator::MemoryGrow { .. }
        | Operator::TableGrow { .. }
        | Operator::TableGet { .. }
        | Operator::TableSet { .. } => 3,
        Operator::MemoryFill { .. }
        | Operator::MemoryCopy { .. }
        | Operator::MemoryInit { .. }
        | Operator::TableFill { .. }
        | Operator::TableCopy { .. }
        | Operator::TableInit { .. } => 8,
        _ => 0,
    }
}

/// Values that an instruction passes on.
fn passed<T: WasmModuleResources>(operator: &Operator<'_>, validator: &FuncValidator<T>) -> u64 {
    let resources = validator.resources();
    let function_type = |index| match &resources.sub_type_at(index)?.composite_type.inner {
        CompositeInnerType::Func(ty) => Some(ty),
        _ => None,
    };
    let both: fn(&FuncType) -> usize = |ty| ty.params().len() + ty.results().len();
    let of_type = |index, of: fn(&FuncType) -> usize| function_type(index).map_or(0, of) as u64;
    let block = |ty: BlockType, of: fn(&FuncType) -> usize| match ty {
        BlockType::Empty => 0,
        BlockType::Type(_) => 1,
        BlockType::FuncType(index) => of_type(index, of),
    };
    let label = |depth: u32| {
        validator
            .get_control_frame(depth as usize)
            .map_or(0, |frame| match frame.kind {
                FrameKind::Loop => block(frame.block_type, |ty| ty.params().len()),
                _ => block(frame.block_type, |ty| ty.results().len()),
            })
    };
    match operator {
        Operator::Call { function_index } | Operator::ReturnCall { function_index } => resources
            .type_index_of_function(*function_index)
            .map_or(0, |index| of_type(index, both)),
        Operator::CallIndirect { type_index, .. }
        | Operator::ReturnCallIndirect { type_index, .. }
        | Operator::CallRef { type_index }
        | Operator::ReturnCallRef { type_index } => of_type(*type_index, both),
        Operator::Block { blockty } | Operator::Loop { blockty } | Operator::If { blockty } => {
            block(*blockty, both)
        }
        Operator::Br { relative_depth } | Operator::BrIf { relative_depth } => {
            label(*relative_depth)
        }
        Operator::BrTable { targets } => {
            let others = targets.targets().map_while(Result::ok).map(label).sum();
            label(targets.default()).saturating_add(others)
        }
        Operator::Return => label(validator.control_stack_height().saturating_sub(1)),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    /// The complexity of the last function of a module in the text format.
    fn last(text: &str) -> Complexity {
        let wasm = wat::parse_str(text).expect("a module");
        let mut last = None;
        measure(&wasm, |_, complexity| {
            last = Some(complexity);
            true
        })
        .expect("a valid module");
        last.expect("a function")
    }

    fn function(types: &str, body: &str) -> Complexity {
        last(&format!(
            "(module (memory 1) (table 1 funcref)
               (type $wide (func (param i32 i32 i32) (result i32 i32 i32)))
               (func $wide (type $wide) (local.get 0) (local.get 1) (local.get 2))
               (func {types} {body}))"
        ))
    }

    #[test]
    fn blocks_are_counted_with_those_that_instructions_are_made_of() {
        let blocks = |body| function("(param i32)", body).blocks;
        // The entry with its stop point, and the end.
        let none = blocks("");
        assert_eq!(none, 4);
        for (body, more) in [
            ("(local.set 0 (i32.add (local.get 0) (i32.const 1)))", 0),
            ("block end", 1),
            ("local.get 0 if end", 3),
            ("local.get 0 if else end", 3),
            ("loop end", 5),
            ("block local.get 0 br_if 0 end", 2),
            ("block local.get 0 br_table 0 0 0 0 end", 5),
            ("(memory.fill (local.get 0) (local.get 0) (local.get 0))", 8),
            ("(drop (table.get 0 (local.get 0)))", 3),
            ("(drop (memory.grow (local.get 0)))", 3),
        ] {
            assert_eq!(blocks(body), none + more, "{body}");
        }
    }

    #[test]
    fn values_that_live_across_blocks_are_counted_at_each() {
        let carried = |body| function("(param i32) (local i32)", body).carried;
        assert_eq!(carried("block end"), 0);
        // Written and read within a piece, or read before there is another.
        for body in [
            "(drop (local.get 0)) block end",
            "block end (local.set 1 (i32.const 1)) (drop (local.get 1))",
        ] {
            assert_eq!(carried(body), 0, "{body}");
        }
        assert_eq!(carried("block end (drop (local.get 0))"), 5);
        assert_eq!(
            carried("block end (drop (local.get 0)) (drop (local.get 1))"),
            10
        );
        let both = "(local.set 1 (local.get 0)) (local.get 0) if (local.set 1 (i32.const 1)) else (drop (local.get 1)) end";
        // The condition, still on the stack, counts as well.
        assert_eq!(carried(both), 7 + 2);
        // On the stack, below the blocks.
        assert_eq!(
            carried("local.get 0 local.get 0 block end block end drop drop"),
            4
        );
        assert_eq!(carried("local.get 0 local.get 0 loop end drop drop"), 10);
    }

    #[test]
    fn values_that_are_passed_are_counted() {
        let passed = |body: &str| function("(param i32)", body).passed;
        let three = "local.get 0 local.get 0 local.get 0";
        let gone = "drop drop drop";
        for (body, values) in [
            ("local.get 0 drop".to_owned(), 0),
            (format!("{three} call $wide {gone}"), 6),
            (
                format!("{three} local.get 0 call_indirect (type $wide) {gone}"),
                6,
            ),
            (format!("{three} block (type $wide) end {gone}"), 6),
            (
                format!("{three} loop (type $wide) local.get 0 br_if 0 end {gone}"),
                9,
            ),
            (
                format!("{three} block (type $wide) local.get 0 br_table 0 0 end {gone}"),
                12,
            ),
            (format!("{three} block (type $wide) br 0 end {gone}"), 9),
            ("return".to_owned(), 0),
        ] {
            assert_eq!(passed(&body), values, "{body}");
        }
        assert_eq!(
            function("(result i32 i32)", "i32.const 1 i32.const 2 return").passed,
            2
        );
    }

    #[test]
    fn what_is_known_of_one_function_says_nothing_of_the_next() {
        let both = last(
            "(module (func (param i32) block end (drop (local.get 0)) (local.set 0 (i32.const 1)))
               (func (param i32) block end block end (drop (local.get 0))))",
        );
        assert_eq!((both.blocks, both.carried), (6, 6));
    }

    #[test]
    fn too_much_of_anything_is_refused_with_the_function_and_the_numbers() {
        let refused = |head: &str, part: &str, count: usize, tail: &str| {
            let mut text = format!("(module (import \"\" \"\" (func)) (func) (func {head} ");
            for _ in 0..count {
                let _ = writeln!(text, "{part}");
            }
            text.push_str(tail);
            text.push_str("))");
            match check(&wat::parse_str(text).expect("a module")) {
                Ok(()) => None,
                Err(LoadError::TooComplex(why)) => Some(why),
                Err(other) => panic!("{other:?}"),
            }
        };
        assert_eq!(refused("", "block end", 49_996, ""), None);
        let why = refused("", "block end", 49_997, "").expect("too many");
        assert!(why.starts_with("function 2 has 50001 blocks"), "{why}");
        let stack = "i32.const 1 ".repeat(500);
        let head = format!("(param i32) {stack}");
        let why = refused(&head, "block end", 10_001, "unreachable").expect("too many");
        assert!(why.contains("keeps 5000500 values"), "{why}");
        let results = "i32 ".repeat(1000);
        let values = "i32.const 1 ".repeat(1000);
        let head = format!("(block (result {results}) {values}");
        let tail = format!("br 0) {}", "drop ".repeat(1000));
        assert_eq!(refused(&head, "", 0, &tail), None);
        let part = "i32.const 0 br_if 0";
        let why = refused(&head, part, 299, &tail).expect("too many");
        assert!(why.contains("passes 301000 values"), "{why}");
    }

    #[test]
    fn what_is_not_valid_is_refused() {
        let invalid = wat::parse_str("(module (func i32.add drop))").expect("a module");
        assert!(matches!(check(&invalid), Err(LoadError::Malformed(_))));
        assert!(matches!(check(b"\0asm"), Err(LoadError::Malformed(_))));
    }
}
