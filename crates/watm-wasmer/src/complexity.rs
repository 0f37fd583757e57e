//! How much it takes to compile the functions of a module, estimated before it is done.
//!
//! The engine cannot be stopped within a function, and its time and memory grow with more than the
//! function's size. What they grow with was measured: the basic blocks, since dominators are found by
//! walking over them; the values that live across each of them; the values that are passed to calls,
//! branches and blocks; the depth of loops within loops, squared; and the arithmetic that the compiler
//! rearranges. At the limits a function takes some five
//! seconds and half a GiB on a machine of these days. The largest functions of compilers, interpreters
//! and codecs that are in use as WebAssembly have 41,000 blocks, carry 3.4 million values and pass 10,000.

use std::time::{Duration, Instant};

use wasmparser::{
    BlockType, CompositeInnerType, FrameKind, FuncType, FuncValidator, FuncValidatorAllocations,
    FunctionBody, Operator, OperatorsReader, Parser, ValidPayload, Validator, WasmModuleResources,
};

use crate::engine;
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
    /// Arithmetic instructions that the compiler rearranges, weighted by what that takes.
    rearranged: u64,
    /// Loops within loops, at the deepest.
    loops: u64,
}

/// The most that a function may have.
const LIMIT: Complexity = Complexity {
    blocks: 50_000,
    carried: 5_000_000,
    passed: 300_000,
    rearranged: 80_000,
    loops: 50,
};

/// Values that the functions of a module may pass together for each byte of it, beside what one may:
/// each takes time when the module is looked at already. Others pass one or two.
const PASSED_FOR_A_BYTE: u64 = 16;

/// Refuses a module with a function that would take too long to compile. Its bytes are in the binary
/// format.
///
/// # Errors
///
/// [`LoadError::TooComplex`]; [`LoadError::Malformed`] if it is not valid;
/// [`LoadError::CompileTimeout`] if as much as this took all the time that there is for compiling.
pub(crate) fn check(wasm: &[u8], timeout: Duration) -> Result<(), LoadError> {
    let begun = Instant::now();
    let mut found = None;
    let (mut passed, most) = (0, LIMIT.passed + PASSED_FOR_A_BYTE * wasm.len() as u64);
    let measured = measure(wasm, |function, complexity| {
        passed += complexity.passed;
        found = if let Some(excess) = complexity.excess() {
            Some(LoadError::TooComplex(format!(
                "function {function} {excess}"
            )))
        } else if passed > most {
            Some(LoadError::TooComplex(format!(
                "its functions pass {passed} values to calls, branches and blocks, more than {most} for \
                 its size"
            )))
        } else if begun.elapsed() > timeout {
            Some(LoadError::CompileTimeout { limit: timeout })
        } else {
            None
        };
        found.is_none()
    });
    match (found, measured) {
        (Some(error), _) => Err(error),
        (None, Err(error)) => Err(LoadError::malformed(error)),
        (None, Ok(())) => Ok(()),
    }
}

/// Measures one function after the other, for as long as `each` returns true. A function is measured
/// until there is too much of anything: what the rest of it would take could be any amount.
fn measure(wasm: &[u8], mut each: impl FnMut(u32, Complexity) -> bool) -> wasmparser::Result<()> {
    let mut validator = Validator::new_with_features(engine::proposals());
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
    fn is_too_much(&self) -> bool {
        self.blocks > LIMIT.blocks
            || self.carried > LIMIT.carried
            || self.passed > LIMIT.passed
            || self.rearranged > LIMIT.rearranged
            || self.loops > LIMIT.loops
    }

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
            (
                self.rearranged,
                LIMIT.rearranged,
                "has",
                "additions, rotations and the like",
            ),
            (self.loops, LIMIT.loops, "nests", "loops"),
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
        let mut open_loops = 0_u64;
        let mut reader = body.get_binary_reader();
        validator.read_locals(&mut reader)?;
        let mut operators = OperatorsReader::new(reader);
        while !operators.eof() {
            let (operator, offset) = operators.read_with_offset()?;
            let blocks = blocks(&operator);
            counted.blocks += blocks;
            counted.carried += blocks * u64::from(validator.operand_stack_height());
            counted.passed += passed(&operator, validator);
            counted.rearranged += rearranged(&operator);
            match operator {
                Operator::Loop { .. } => {
                    open_loops += 1;
                    counted.loops = counted.loops.max(open_loops);
                }
                Operator::End if is_in_loop(validator) => open_loops -= 1,
                _ => {}
            }
            // Before the validator goes through as many.
            if counted.is_too_much() {
                return Ok(counted);
            }
            // From here on it is known to be valid.
            validator.op(offset, &operator)?;
            // Each block that is open has its end before it.
            let blocks = counted.blocks + u64::from(validator.control_stack_height());
            if blocks > LIMIT.blocks {
                return Ok(Complexity { blocks, ..counted });
            }
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

/// Whether the innermost block is a loop.
fn is_in_loop<T: WasmModuleResources>(validator: &FuncValidator<T>) -> bool {
    let innermost = validator.get_control_frame(0);
    innermost.is_some_and(|frame| frame.kind == FrameKind::Loop)
}

/// What it takes the compiler to look for a better order of an instruction and others, in additions.
fn rearranged(operator: &Operator<'_>) -> u64 {
    match operator {
        Operator::I32Rotl | Operator::I32Rotr | Operator::I64Rotl | Operator::I64Rotr => 2,
        Operator::I32Add
        | Operator::I64Add
        | Operator::I32Sub
        | Operator::I64Sub
        | Operator::I32And
        | Operator::I64And
        | Operator::I32Or
        | Operator::I64Or
        | Operator::I32Xor
        | Operator::I64Xor
        // What these trap on is memory to compile, and more code than anything else.
        | Operator::I32TruncF32S
        | Operator::I32TruncF32U
        | Operator::I32TruncF64S
        | Operator::I32TruncF64U
        | Operator::I64TruncF32S
        | Operator::I64TruncF32U
        | Operator::I64TruncF64S
        | Operator::I64TruncF64U => 1,
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
        Operator::Call { function_index } => resources
            .type_index_of_function(*function_index)
            .map_or(0, |index| of_type(index, both)),
        Operator::CallIndirect { type_index, .. } => of_type(*type_index, both),
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
        last_of(&wat::parse_str(text).expect("a module"))
    }

    fn last_of(wasm: &[u8]) -> Complexity {
        let mut last = None;
        measure(wasm, |_, complexity| {
            last = Some(complexity);
            true
        })
        .expect("a valid module");
        last.expect("a function")
    }

    fn check_all(wasm: &[u8]) -> Result<(), LoadError> {
        check(wasm, Duration::MAX)
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
    fn loops_within_loops_and_what_is_rearranged_are_counted() {
        let loops = |body: &str| function("(param i32)", body).loops;
        assert_eq!(
            loops("block if end end".replace("if", "local.get 0 if").as_str()),
            0
        );
        assert_eq!(loops("loop end loop block loop end end end loop end"), 2);
        let deep = |depth: usize| {
            let (open, close) = ("loop ".repeat(depth), "end ".repeat(depth));
            wat::parse_str(format!("(module (func {open}{close}))")).expect("a module")
        };
        assert!(check_all(&deep(50)).is_ok());
        let error = check_all(&deep(51)).expect_err("too deep");
        assert!(error.to_string().contains("nests 51 loops"), "{error}");
        let many = |instruction: &str, count: usize| {
            let body = format!("local.get 0 {instruction} ").repeat(count);
            let text = format!("(module (func (param i32) local.get 0 {body} drop))");
            check_all(&wat::parse_str(text).expect("a module"))
        };
        assert!(many("i32.add", 80_000).is_ok());
        assert!(matches!(
            many("i32.add", 80_001),
            Err(LoadError::TooComplex(_))
        ));
        assert!(many("i32.rotl", 40_000).is_ok());
        assert!(matches!(
            many("i32.rotl", 40_001),
            Err(LoadError::TooComplex(_))
        ));
    }

    #[test]
    fn looking_at_a_module_takes_no_longer_than_compiling_may() {
        let wasm = wat::parse_str("(module (func) (func))").expect("a module");
        let error = check(&wasm, Duration::ZERO).expect_err("no time");
        assert!(
            matches!(error, LoadError::CompileTimeout { .. }),
            "{error:?}"
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
            match check_all(&wat::parse_str(text).expect("a module")) {
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
    fn a_function_is_measured_until_there_is_too_much_of_anything() {
        let wide = "i32 ".repeat(1000);
        for (body, most) in [
            // A thousand values for three bytes, and for each target of a branch.
            (
                format!(
                    "unreachable {}",
                    "(block (type $wide) unreachable) ".repeat(100_000)
                ),
                400_000,
            ),
            (
                format!(
                    "(block (type $wide) unreachable br_table {})",
                    "0 ".repeat(400_000)
                ),
                401_000_000,
            ),
        ] {
            let text = format!("(module (type $wide (func (result {wide}))) (func {body}))");
            let wasm = wat::parse_str(text).expect("a module");
            let passed = last_of(&wasm).passed;
            assert!(passed < most, "{passed}");
            assert!(matches!(check_all(&wasm), Err(LoadError::TooComplex(_))));
        }
        let nested = format!(
            "(module (func {} {}))",
            "block ".repeat(200_000),
            "end ".repeat(200_000)
        );
        let wasm = wat::parse_str(nested).expect("a module");
        assert_eq!(last_of(&wasm).blocks, LIMIT.blocks + 1);
    }

    #[test]
    fn functions_that_pass_little_each_are_refused_for_what_they_pass_together() {
        let values = "i32 ".repeat(1000);
        let calls = "call 0 ".repeat(100);
        let functions = format!("(func unreachable {calls} unreachable)").repeat(1000);
        let text = format!("(module (func (param {values}) unreachable) {functions})");
        let wasm = wat::parse_str(text).expect("a module");
        match check_all(&wasm) {
            Err(LoadError::TooComplex(why)) => assert!(why.contains("for its size"), "{why}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_not_valid_is_refused() {
        let invalid = wat::parse_str("(module (func i32.add drop))").expect("a module");
        assert!(matches!(check_all(&invalid), Err(LoadError::Malformed(_))));
        assert!(matches!(check_all(b"\0asm"), Err(LoadError::Malformed(_))));
    }
}
