//! Which functions of a module need stop points at their start and at their end.
//!
//! A guest that goes on without end does so in a loop, or by calling without end. All loops have
//! stop points. Calls go on without end only around a cycle of the call graph, and every cycle has
//! an edge that leads back, in whatever order the graph is walked. So the functions that such edges
//! lead to get a stop point at their start. An indirect call may lead to each function of its type
//! that a table can hold.
//!
//! The host puts functions of its own into a table, too: those of an extension, which a guest
//! takes. They are no part of the graph, just as imported functions are not. They never call the
//! guest, so no cycle leads through them. Each first ends the guest if it should stop, and what it
//! does then is bounded, so a call of one is as good as a stop point.
//!
//! Calls without a cycle end, but not necessarily soon: with forty functions that each call the
//! next one twice, it takes an hour. So a function also gets a stop point if it would execute more
//! than [`COST_LIMIT`] instructions without one. And since each function may have much to do after a
//! deep recursion has returned to it, functions that have one at their start also have one at their
//! end.
//!
//! So the instructions between two stop points are those of one function that has them, once each,
//! and at most [`COST_LIMIT`] for each of its calls of functions that have none. Loops have stop
//! points of their own. What takes longer than other instructions counts for more.

use std::collections::{BTreeMap, HashMap};

use wasmparser::{
    BinaryReaderError, ConstExpr, ElementItems, FuncType, FunctionBody, Operator, Parser, Payload,
    TableInit, TypeRef,
};

/// Maximum number of instructions that a function and those that it calls execute without a stop
/// point, if no loop repeats them.
const COST_LIMIT: u64 = 1000;

/// Returns for each function of the module, in the order of their bodies, whether it needs stop
/// points at its start and at its end. `wasm` must be valid.
pub(crate) fn bounded(wasm: &[u8]) -> Result<Vec<bool>, BinaryReaderError> {
    let mut reading = Reading::default();
    for payload in Parser::new(0).parse_all(wasm) {
        reading.take_in(payload?)?;
    }
    Ok(Walk::through(&reading.graph()))
}
/// A node of the call graph: a function that the module defines, or all functions of a type that a
/// table can hold.
type Node = usize;

/// Who calls whom. The functions come first, then one node for each type.
#[derive(Default)]
struct Graph {
    functions: usize,
    /// For each node, the nodes that it calls, and how often its code does so.
    calls: Vec<Vec<(Node, u64)>>,
    /// For each function, the number of its instructions.
    sizes: Vec<u64>,
}

/// What is known of a module while it is read.
#[derive(Default)]
struct Reading {
    /// For each type, the first one that is the same.
    types: Vec<u32>,
    known: HashMap<FuncType, u32>,
    /// The type of each function, those that are imported first.
    functions: Vec<u32>,
    imported: usize,
    /// Functions that a table can hold.
    in_tables: Vec<u32>,
    /// For each function that was read: its size, the functions that it calls, and the types that
    /// it calls indirectly.
    bodies: Vec<Body>,
}

#[derive(Default)]
struct Body {
    size: u64,
    functions: BTreeMap<u32, u64>,
    types: BTreeMap<u32, u64>,
}

impl Reading {
    fn take_in(&mut self, payload: Payload<'_>) -> Result<(), BinaryReaderError> {
        match payload {
            Payload::TypeSection(section) => {
                for ty in section.into_iter_err_on_gc_types() {
                    let new = self.types.len() as u32;
                    self.types.push(*self.known.entry(ty?).or_insert(new));
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    if let TypeRef::Func(ty) | TypeRef::FuncExact(ty) = import?.ty {
                        self.functions.push(ty);
                    }
                }
                self.imported = self.functions.len();
            }
            Payload::FunctionSection(section) => {
                for ty in section {
                    self.functions.push(ty?);
                }
            }
            Payload::TableSection(section) => {
                for table in section {
                    if let TableInit::Expr(init) = table?.init {
                        self.read_constant(&init)?;
                    }
                }
            }
            Payload::GlobalSection(section) => {
                for global in section {
                    self.read_constant(&global?.init_expr)?;
                }
            }
            Payload::ElementSection(section) => {
                for segment in section {
                    match segment?.items {
                        ElementItems::Functions(items) => {
                            for function in items {
                                self.in_tables.push(function?);
                            }
                        }
                        ElementItems::Expressions(_, items) => {
                            for expression in items {
                                self.read_constant(&expression?)?;
                            }
                        }
                    }
                }
            }
            Payload::CodeSectionEntry(body) => self.read_body(&body)?,
            _ => {}
        }
        Ok(())
    }

    fn read_constant(&mut self, expression: &ConstExpr<'_>) -> Result<(), BinaryReaderError> {
        for operator in expression.get_operators_reader() {
            if let Operator::RefFunc { function_index } = operator? {
                self.in_tables.push(function_index);
            }
        }
        Ok(())
    }

    fn read_body(&mut self, code: &FunctionBody<'_>) -> Result<(), BinaryReaderError> {
        let mut body = Body::default();
        for operator in code.get_operators_reader()? {
            let operator = operator?;
            body.size += weight(&operator);
            match operator {
                Operator::Call { function_index } | Operator::ReturnCall { function_index } => {
                    *body.functions.entry(function_index).or_default() += 1;
                }
                Operator::CallIndirect { type_index, .. }
                | Operator::ReturnCallIndirect { type_index, .. } => {
                    *body.types.entry(type_index).or_default() += 1;
                }
                Operator::RefFunc { function_index } => self.in_tables.push(function_index),
                _ => {}
            }
        }
        self.bodies.push(body);
        Ok(())
    }

    fn graph(self) -> Graph {
        let count = self.bodies.len();
        // Imported functions call nothing of the guest. Nor do those that the host puts into a
        // table.
        let defined = |function: u32| (function as usize).checked_sub(self.imported);
        let canonical = |ty: u32| self.types.get(ty as usize).map(|ty| *ty as usize);
        let mut calls: Vec<Vec<(Node, u64)>> = Vec::with_capacity(count + self.types.len());
        for body in &self.bodies {
            let direct = body.functions.iter().filter_map(|(function, times)| {
                let node = defined(*function).filter(|node| *node < count)?;
                Some((node, *times))
            });
            let indirect = body
                .types
                .iter()
                .filter_map(|(ty, times)| Some((count + canonical(*ty)?, *times)));
            calls.push(direct.chain(indirect).collect());
        }
        calls.resize(count + self.types.len(), Vec::new());
        let mut in_tables = self.in_tables;
        in_tables.sort_unstable();
        in_tables.dedup();
        for function in in_tables {
            let ty = self.functions.get(function as usize).copied();
            if let (Some(node), Some(ty)) = (defined(function), ty.and_then(canonical))
                && node < count
            {
                calls[count + ty].push((node, 1));
            }
        }
        Graph {
            functions: count,
            calls,
            sizes: self.bodies.iter().map(|body| body.size).collect(),
        }
    }
}

/// How long an instruction takes, compared with an addition.
fn weight(operator: &Operator<'_>) -> u64 {
    match operator {
        Operator::I32DivS
        | Operator::I32DivU
        | Operator::I32RemS
        | Operator::I32RemU
        | Operator::I64DivS
        | Operator::I64DivU
        | Operator::I64RemS
        | Operator::I64RemU
        | Operator::F32Div
        | Operator::F64Div
        | Operator::F32Sqrt
        | Operator::F64Sqrt => 20,
        // The engine's library does it.
        Operator::ElemDrop { .. } | Operator::DataDrop { .. } => 100,
        _ => 1,
    }
}

/// How far a walk has come with a node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    Not,
    /// The walk is below it.
    Open,
    Done,
}

/// A walk through the call graph, depth first.
struct Walk<'a> {
    graph: &'a Graph,
    seen: Vec<Seen>,
    /// Whether a function has stop points, or all functions of a type have them.
    marked: Vec<bool>,
    /// The number of instructions that a call of a node that is done executes up to stop points.
    costs: Vec<u64>,
}

impl<'a> Walk<'a> {
    /// Returns for each function whether it is marked.
    fn through(graph: &'a Graph) -> Vec<bool> {
        let count = graph.calls.len();
        let mut walk = Self {
            graph,
            seen: vec![Seen::Not; count],
            marked: vec![false; count],
            costs: vec![0; count],
        };
        for node in 0..count {
            walk.from(node);
        }
        walk.marked.truncate(graph.functions);
        walk.marked
    }

    /// Walks from a node to everything that it reaches and that was not seen.
    fn from(&mut self, start: Node) {
        if self.seen[start] != Seen::Not {
            return;
        }
        self.seen[start] = Seen::Open;
        // The nodes above, each with the number of its calls that were looked at.
        let mut above = vec![(start, 0)];
        while let Some((node, next)) = above.last_mut() {
            let node = *node;
            let Some((callee, _)) = self.graph.calls[node].get(*next) else {
                self.finish(node);
                above.pop();
                continue;
            };
            *next += 1;
            match self.seen[*callee] {
                Seen::Not => {
                    self.seen[*callee] = Seen::Open;
                    above.push((*callee, 0));
                }
                Seen::Open => self.mark(*callee),
                Seen::Done => {}
            }
        }
    }

    /// Makes calls of a node pass a stop point.
    fn mark(&mut self, node: Node) {
        self.marked[node] = true;
        if node >= self.graph.functions {
            for (function, _) in &self.graph.calls[node] {
                self.marked[*function] = true;
            }
        }
    }

    fn finish(&mut self, node: Node) {
        self.seen[node] = Seen::Done;
        let callees = self.graph.calls[node].iter();
        let costs = callees.map(|(callee, times)| {
            let cost = if self.marked[*callee] {
                1
            } else {
                self.costs[*callee]
            };
            (cost, *times)
        });
        self.costs[node] = match self.graph.sizes.get(node) {
            Some(size) => costs.fold(*size, |sum, (cost, times)| {
                sum.saturating_add(cost.saturating_mul(times))
            }),
            None => costs.map(|(cost, _)| cost).max().unwrap_or(0),
        };
        if self.costs[node] > COST_LIMIT {
            self.mark(node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn starts_of(functions: &str) -> Vec<bool> {
        let text = format!(
            r#"(module (type $f (func)) (type $g (func (param i32)))
              (import "" "host" (func $host)) (table 4 funcref) {functions})"#
        );
        let wasm = wat::parse_str(&text).expect("a module");
        bounded(&wasm).expect("it is valid")
    }

    #[test]
    fn a_function_that_calls_nothing_that_calls_it_needs_none() {
        let none =
            starts_of("(func $a (call $b) (call $c) (call $host)) (func $b (call $c)) (func $c)");
        assert_eq!(none, [false; 3]);
    }

    #[test]
    fn every_cycle_has_one() {
        assert_eq!(starts_of("(func $a (call $a))"), [true]);
        let two = starts_of("(func $a (call $b)) (func $b (call $a))");
        assert_eq!(two, [true, false]);
        // Two cycles through one function, and one beside it.
        let three = starts_of(
            "(func $a (call $b) (call $c)) (func $b (call $a)) (func $c (call $a) (call $d)) \
             (func $d (call $c))",
        );
        assert_eq!(three, [true, false, true, false]);
    }

    #[test]
    fn an_indirect_call_leads_to_all_functions_of_its_type_in_tables() {
        let indirect = "(call_indirect (type $f) (i32.const 0))";
        let found = starts_of(&format!(
            "(func $a (type $f) {indirect}) (func $b (type $f)) (func $c (type $f)) \
             (func $d (type $g)) (elem (i32.const 0) $a $b $d)"
        ));
        assert!(found[0], "it may call itself");
        assert!(!found[2] && !found[3], "{found:?}");
        // Nobody can put it into a table.
        assert_eq!(
            starts_of(&format!("(func $a (type $f) {indirect})")),
            [false]
        );
        // These may be put there later.
        for holder in [
            "(global funcref (ref.func $a))",
            "(elem declare func $a) (func (drop (ref.func $a)))",
            "(table 1 funcref (ref.func $a))",
            "(elem funcref (ref.func $a))",
            "(table funcref (elem $a))",
        ] {
            let found = starts_of(&format!("(func $a (type $f) {indirect}) {holder}"));
            assert!(found[0], "{holder}");
        }
    }

    /// Whether calls from some function lead back to it without a function that is marked.
    fn has_cycle(calls: &[Vec<usize>], marked: &[bool]) -> bool {
        let mut left: Vec<bool> = marked.iter().map(|marked| !marked).collect();
        loop {
            let ends = (0..calls.len())
                .find(|&from| left[from] && calls[from].iter().all(|&to| !left[to]));
            match ends {
                Some(function) => left[function] = false,
                None => return left.contains(&true),
            }
        }
    }

    proptest! {
        /// `direct` has pairs of who calls whom, `tables` the functions that a table holds, and
        /// `indirect` the functions that call one of these.
        #[test]
        fn no_cycle_of_any_call_graph_is_without_one(
            direct in proptest::collection::vec((0..12_usize, 0..12_usize), 0..30),
            tables in proptest::collection::btree_set(0..12_usize, 0..5),
            indirect in proptest::collection::btree_set(0..12_usize, 0..3),
        ) {
            let mut bodies = vec![String::new(); 12];
            let mut calls = vec![Vec::new(); 12];
            for (from, to) in direct {
                bodies[from].push_str(&format!("(call $f{to})"));
                calls[from].push(to);
            }
            for from in indirect {
                bodies[from].push_str("(call_indirect (type $f) (i32.const 0))");
                calls[from].extend(&tables);
            }
            let mut functions = String::new();
            for (i, body) in bodies.iter().enumerate() {
                functions.push_str(&format!("(func $f{i} (type $f) {body})"));
            }
            functions.push_str("(elem (i32.const 0) func");
            for function in &tables {
                functions.push_str(&format!(" $f{function}"));
            }
            functions.push(')');
            let marked = starts_of(&functions);
            prop_assert!(!has_cycle(&calls, &marked), "{calls:?}: {marked:?}");
        }
    }

    #[test]
    fn the_same_type_twice_is_one_type() {
        let found = starts_of(
            "(type $again (func)) (func $a (type $again) \
             (call_indirect (type $f) (i32.const 0))) (elem (i32.const 0) $a)",
        );
        assert_eq!(found, [true]);
    }

    #[test]
    fn calls_that_end_but_not_soon_pass_some() {
        let mut functions = String::from("(func $f0)");
        for i in 1..=40 {
            functions.push_str(&format!("(func $f{i} (call $f{0}) (call $f{0}))", i - 1));
        }
        let found = starts_of(&functions);
        // No more than ten in a row multiply.
        let longest = found.split(|marked| *marked).map(<[_]>::len).max();
        assert!(longest < Some(11), "{found:?}");
        assert!(found.iter().any(|marked| !marked), "{found:?}");
    }

    #[test]
    fn a_long_chain_of_calls_is_no_deep_recursion() {
        let count = 50_000;
        let mut functions = String::new();
        for i in 0..count {
            functions.push_str(&format!("(func $f{i} (call $f{}))", (i + 1) % count));
        }
        assert!(starts_of(&functions).iter().any(|marked| *marked));
    }
}
