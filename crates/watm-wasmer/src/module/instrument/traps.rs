//! Traps that need neither the guest's stack nor a library.
//!
//! The engine compiles some instructions to calls of its library: `unreachable`, and those that
//! copy, fill and read memory and tables. When such a call traps, the library takes locks and
//! memory on the guest's stack. If the guest has left little room there, the stack overflows and
//! the locks stay taken for everybody. So the compiled code first checks whether the instruction
//! would trap. If it would, the code ends with a division by 0 instead, which is a trap of the
//! processor. A global variable records the cause. It is added to the module where the module's own
//! code cannot reach it.
//!
//! During a check, further such globals hold the operands that lie above another operand on the
//! stack, because no local variables can be added. Memory only grows, so a size seen once stays
//! good until an instruction goes beyond it. Only then does the code ask for the size again.
//!
//! `table.init` of external references is carried out by `table.fill`. Such a segment holds nothing
//! but nulls, but the library takes them for functions and panics.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use wasmer::sys::wasmparser::{BlockType, HeapType, Operator};
use wasmer::sys::{FunctionMiddleware, MiddlewareError, MiddlewareReaderState, ModuleMiddleware};
use wasmer::{
    ExportIndex, GlobalInit, GlobalType, Instance, LocalFunctionIndex, ModuleInfo, Mutability,
    Store, Type, Value,
};

/// The name under which the cause of a trap is exported. It hides an export of the same name that
/// the module has.
const CAUSE: &str = "\0watm trap";

/// Ends the guest without a call.
pub(crate) const TRAP: [Operator<'static>; 4] = [
    Operator::I32Const { value: 0 },
    Operator::I32Const { value: 0 },
    Operator::I32DivU,
    Operator::Drop,
];

/// Maximum number of elements of a table that the engine may lay out once more within each
/// instance. The engine does so if a table of functions has no room to grow. Each element takes 32
/// bytes, and the layout is made anew for each segment that is put into the table.
const FIXED_LIMIT: u32 = 8192;

/// Why a guest ended with a division that was not its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Unreachable = 1,
    Memory = 2,
    Table = 3,
}

/// What a trapped guest did, if its module records it.
pub(crate) fn cause(instance: &Instance, store: &mut Store) -> Option<&'static str> {
    let cause = instance.exports.get_global(CAUSE).ok()?.get(store);
    // The descriptions are those of the engine.
    [
        (Cause::Unreachable, "unreachable"),
        (Cause::Memory, "out of bounds memory access"),
        (
            Cause::Table,
            "undefined element: out of bounds table access",
        ),
    ]
    .into_iter()
    .find_map(|(one, text)| (cause == Value::I32(one as i32)).then_some(text))
}

/// Adds the checks to one module while it is compiled.
#[derive(Debug, Default)]
pub(crate) struct Traps {
    /// Known before the first function is compiled.
    module: OnceLock<Arc<Instrumented>>,
}

/// What the checks need to know of the module, and the indices of the added globals.
#[derive(Debug)]
struct Instrumented {
    cause: u32,
    /// Three operands.
    first: u32,
    second: u32,
    third: u32,
    /// An operand that is a reference.
    function: u32,
    external: u32,
    /// Where an access to memory ends.
    end: u32,
    /// Number of bytes that memory has at least.
    size: u32,
    data: Segments,
    elements: Segments,
    /// What each table holds.
    tables: Vec<Type>,
    /// The tables that must not grow, although the engine was told that they may.
    full: Vec<u32>,
}

/// The passive segments of one kind.
#[derive(Debug)]
struct Segments {
    /// Number of bytes or elements in each segment.
    lengths: BTreeMap<u32, u32>,
    /// The first of the globals that hold one bit for each segment. The bit is 1 once the segment
    /// is dropped.
    dropped: u32,
}

impl Segments {
    fn new(
        lengths: impl Iterator<Item = (u32, usize)>,
        add_global: &mut impl FnMut(Type, GlobalInit) -> u32,
    ) -> Self {
        let lengths: BTreeMap<_, _> = lengths
            .map(|(segment, length)| (segment, length.try_into().unwrap_or(u32::MAX)))
            .collect();
        let words = lengths
            .last_key_value()
            .map_or(0, |(last, _)| last / u64::BITS + 1);
        let mut dropped = None;
        for _ in 0..words {
            dropped.get_or_insert(add_global(Type::I64, GlobalInit::I64Const(0)));
        }
        Self {
            lengths,
            dropped: dropped.unwrap_or(0),
        }
    }

    /// The global for a segment, and the segment's bit in it.
    fn bit(&self, segment: u32) -> (u32, i64) {
        (
            self.dropped + segment / u64::BITS,
            1 << (segment % u64::BITS),
        )
    }

    /// Pushes the length that is left of a segment.
    fn push_length(&self, segment: u32, state: &mut MiddlewareReaderState<'_>) {
        let Some(&length) = self.lengths.get(&segment) else {
            // An active segment is dropped from the start.
            return state.push_operator(Operator::I64Const { value: 0 });
        };
        let (global_index, bit) = self.bit(segment);
        state.extend([
            Operator::I64Const { value: 0 },
            Operator::I64Const {
                value: length.into(),
            },
            Operator::GlobalGet { global_index },
            Operator::I64Const { value: bit },
            Operator::I64And,
            Operator::I64Const { value: 0 },
            Operator::I64Ne,
            Operator::Select,
        ]);
    }

    fn drop(&self, segment: u32, state: &mut MiddlewareReaderState<'_>) {
        if self.lengths.contains_key(&segment) {
            let (global_index, bit) = self.bit(segment);
            state.extend([
                Operator::GlobalGet { global_index },
                Operator::I64Const { value: bit },
                Operator::I64Or,
                Operator::GlobalSet { global_index },
            ]);
        }
    }
}

impl ModuleMiddleware for Traps {
    fn generate_function_middleware<'a>(
        &self,
        _function: LocalFunctionIndex,
    ) -> Box<dyn FunctionMiddleware<'a> + 'a> {
        Box::new(InFunction(self.module.get().cloned()))
    }

    fn transform_module_info(&self, info: &mut ModuleInfo) -> Result<(), MiddlewareError> {
        let mut add_global = |ty, initial| {
            info.global_initializers.push(initial);
            info.globals.push(GlobalType::new(ty, Mutability::Var))
        };
        let cause = add_global(Type::I32, GlobalInit::I32Const(0));
        let mut add_global = |ty, initial| add_global(ty, initial).as_u32();
        let [first, second, third] =
            std::array::from_fn(|_| add_global(Type::I32, GlobalInit::I32Const(0)));
        let module = Instrumented {
            cause: cause.as_u32(),
            first,
            second,
            third,
            function: add_global(Type::FuncRef, GlobalInit::RefNullConst),
            external: add_global(Type::ExternRef, GlobalInit::RefNullConst),
            end: add_global(Type::I64, GlobalInit::I64Const(0)),
            size: add_global(Type::I64, GlobalInit::I64Const(0)),
            data: Segments::new(
                info.passive_data
                    .iter()
                    .map(|(index, data)| (index.as_u32(), data.len())),
                &mut add_global,
            ),
            elements: Segments::new(
                info.passive_elements
                    .iter()
                    .map(|(index, elements)| (index.as_u32(), elements.len())),
                &mut add_global,
            ),
            tables: info.tables.values().map(|table| table.ty).collect(),
            full: let_large_tables_grow(info),
        };
        info.exports
            .insert(CAUSE.into(), ExportIndex::Global(cause));
        self.module
            .set(Arc::new(module))
            .map_err(|_| MiddlewareError::new("traps", "they were made for one module already"))
    }
}

/// Tells the engine that the large tables that cannot grow may grow. Returns their indices, so that
/// the checks can refuse each attempt to grow them.
fn let_large_tables_grow(info: &mut ModuleInfo) -> Vec<u32> {
    let mut full = Vec::new();
    for (index, table) in &mut info.tables {
        if table.is_fixed_funcref_table() && table.minimum > FIXED_LIMIT {
            table.maximum = None;
            full.push(index.as_u32());
        }
    }
    full
}

#[derive(Debug)]
struct InFunction(Option<Arc<Instrumented>>);

impl<'a> FunctionMiddleware<'a> for InFunction {
    fn feed(
        &mut self,
        operator: Operator<'a>,
        state: &mut MiddlewareReaderState<'a>,
    ) -> Result<(), MiddlewareError> {
        match &self.0 {
            Some(module) => module.feed(operator, state),
            None => state.push_operator(operator),
        }
        Ok(())
    }
}

impl Instrumented {
    /// Pushes an instruction after the checks that it needs, or whatever takes its place.
    fn feed<'a>(&self, operator: Operator<'a>, state: &mut MiddlewareReaderState<'a>) {
        match operator {
            Operator::Unreachable => self.trap(Cause::Unreachable, state),
            Operator::MemoryCopy { .. } => self.before_memory_copy(state),
            Operator::MemoryFill { .. } => self.before_memory_write(None, state),
            Operator::MemoryInit { data_index, .. } => {
                self.before_memory_write(Some(data_index), state);
            }
            Operator::TableGet { table } => {
                Self::take([self.first], state);
                self.check_element(table, state);
                Self::put([self.first], state);
            }
            Operator::TableSet { table } => {
                let value = self.reference(table);
                Self::take([value, self.first], state);
                self.check_element(table, state);
                Self::put([self.first, value], state);
            }
            Operator::TableGrow { table } if self.full.contains(&table) => {
                return self.refuse_to_grow(table, state);
            }
            Operator::TableFill { table } => {
                let value = self.reference(table);
                Self::take([self.third, value, self.first], state);
                self.check_table(self.first, table, state);
                Self::put([self.first, value, self.third], state);
            }
            Operator::TableCopy {
                dst_table,
                src_table,
            } => {
                self.take_three(state);
                self.check_table(self.first, dst_table, state);
                self.check_table(self.second, src_table, state);
                self.put_three(state);
            }
            Operator::TableInit { elem_index, table } => {
                self.before_table_init(elem_index, table, state);
                if self.reference(table) == self.external {
                    return self.fill_with_null(table, state);
                }
                self.put_three(state);
            }
            Operator::DataDrop { data_index } => self.data.drop(data_index, state),
            Operator::ElemDrop { elem_index } => self.elements.drop(elem_index, state),
            _ => {}
        }
        state.push_operator(operator);
    }

    fn before_memory_copy(&self, state: &mut MiddlewareReaderState<'_>) {
        let Self { first, second, .. } = *self;
        self.take_three(state);
        // The range that begins last also ends last.
        Self::put([first, second, first, second], state);
        state.extend([Operator::I32GtU, Operator::Select]);
        self.check_memory(state);
        self.put_three(state);
    }

    /// Checks a write to memory, and the read from a data segment if there is one.
    fn before_memory_write(&self, segment: Option<u32>, state: &mut MiddlewareReaderState<'_>) {
        self.take_three(state);
        Self::put([self.first], state);
        self.check_memory(state);
        if let Some(segment) = segment {
            self.check(self.second, Cause::Memory, state, |state| {
                self.data.push_length(segment, state);
            });
        }
        self.put_three(state);
    }

    /// Checks a `table.init`. Leaves the operands in the globals.
    fn before_table_init(&self, segment: u32, table: u32, state: &mut MiddlewareReaderState<'_>) {
        self.take_three(state);
        self.check_table(self.first, table, state);
        self.check(self.second, Cause::Table, state, |state| {
            self.elements.push_length(segment, state);
        });
    }

    fn fill_with_null(&self, table: u32, state: &mut MiddlewareReaderState<'_>) {
        Self::put([self.first], state);
        state.push_operator(Operator::RefNull {
            hty: HeapType::EXTERN,
        });
        Self::put([self.third], state);
        state.push_operator(Operator::TableFill { table });
    }

    /// Answers -1 in place of growing a table. Growing by nothing always works, so that is let
    /// through.
    fn refuse_to_grow(&self, table: u32, state: &mut MiddlewareReaderState<'_>) {
        Self::take([self.third], state);
        state.extend([
            Operator::Drop,
            Operator::I32Const { value: -1 },
            Operator::TableSize { table },
        ]);
        Self::put([self.third], state);
        state.push_operator(Operator::Select);
    }

    /// Takes three operands from the stack.
    fn take_three(&self, state: &mut MiddlewareReaderState<'_>) {
        Self::take([self.third, self.second, self.first], state);
    }

    /// Puts the three operands back.
    fn put_three(&self, state: &mut MiddlewareReaderState<'_>) {
        Self::put([self.first, self.second, self.third], state);
    }

    /// Takes operands from the stack, the topmost first.
    fn take<const N: usize>(globals: [u32; N], state: &mut MiddlewareReaderState<'_>) {
        state.extend(globals.map(|global_index| Operator::GlobalSet { global_index }));
    }

    /// Puts operands on the stack, the bottommost first.
    fn put<const N: usize>(globals: [u32; N], state: &mut MiddlewareReaderState<'_>) {
        state.extend(globals.map(|global_index| Operator::GlobalGet { global_index }));
    }

    /// The global that holds an operand of a table's element type.
    fn reference(&self, table: u32) -> u32 {
        match self.tables.get(table as usize) {
            Some(Type::ExternRef) => self.external,
            _ => self.function,
        }
    }

    fn trap(&self, cause: Cause, state: &mut MiddlewareReaderState<'_>) {
        state.extend([
            Operator::I32Const {
                value: cause as i32,
            },
            Operator::GlobalSet {
                global_index: self.cause,
            },
        ]);
        state.extend(TRAP);
    }

    /// Traps if the value on top of the stack is not 0.
    fn trap_if(&self, cause: Cause, state: &mut MiddlewareReaderState<'_>) {
        state.push_operator(Operator::If {
            blockty: BlockType::Empty,
        });
        self.trap(cause, state);
        state.push_operator(Operator::End);
    }

    /// Traps if an access to the element in `first` lies outside the table.
    fn check_element(&self, table: u32, state: &mut MiddlewareReaderState<'_>) {
        Self::put([self.first], state);
        state.extend([Operator::TableSize { table }, Operator::I32GeU]);
        self.trap_if(Cause::Table, state);
    }

    fn check_table(&self, start: u32, table: u32, state: &mut MiddlewareReaderState<'_>) {
        self.check(start, Cause::Table, state, |state| {
            state.extend([Operator::TableSize { table }, Operator::I64ExtendI32U]);
        });
    }

    /// Traps if `third` units from `start` end beyond the limit.
    fn check<'a>(
        &self,
        start: u32,
        cause: Cause,
        state: &mut MiddlewareReaderState<'a>,
        push_limit: impl FnOnce(&mut MiddlewareReaderState<'a>),
    ) {
        Self::put([start], state);
        self.add_third(state);
        push_limit(state);
        state.push_operator(Operator::I64GtU);
        self.trap_if(cause, state);
    }

    /// Turns the start on top of the stack into the end.
    fn add_third(&self, state: &mut MiddlewareReaderState<'_>) {
        state.push_operator(Operator::I64ExtendI32U);
        Self::put([self.third], state);
        state.extend([Operator::I64ExtendI32U, Operator::I64Add]);
    }

    /// Traps if `third` bytes from the start on top of the stack do not lie in memory.
    fn check_memory(&self, state: &mut MiddlewareReaderState<'_>) {
        self.add_third(state);
        Self::take([self.end], state);
        let begin_if_beyond = |state: &mut MiddlewareReaderState<'_>| {
            Self::put([self.end, self.size], state);
            state.extend([
                Operator::I64GtU,
                Operator::If {
                    blockty: BlockType::Empty,
                },
            ]);
        };
        begin_if_beyond(state);
        // Each page has 65,536 bytes. If there are all 65,536 pages, count one byte less: the
        // library lets nothing reach their end.
        let pages = [Operator::MemorySize { mem: 0 }, Operator::I64ExtendI32U];
        state.extend(&pages);
        state.extend([Operator::I64Const { value: 16 }, Operator::I64Shl]);
        state.extend(&pages);
        state.extend([
            Operator::I64Const { value: 16 },
            Operator::I64ShrU,
            Operator::I64Sub,
        ]);
        Self::take([self.size], state);
        begin_if_beyond(state);
        self.trap(Cause::Memory, state);
        state.extend([Operator::End, Operator::End]);
    }
}

#[cfg(test)]
mod tests;
