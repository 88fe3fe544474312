import type { RefObject } from "preact";
import type { Mark } from "../api/wire";
import type { Proof } from "../model/proof";
import type { Report } from "../model/report";
import type { Norms } from "../model/rollup";
import { isGlob } from "../model/search";
import { isVariable, pathOfNode } from "../model/tree";
import type { Link } from "../state/link";
import { useRows } from "../state/use_rows";
import { Detail } from "./detail";
import { Table } from "./table";
import { Toolbar } from "./toolbar";

interface Props {
  report: Report;
  norms: Norms;
  proof: Proof;
  marks: readonly Mark[];
  link: Link;
  normsToken: string | null;
  searchBox: RefObject<HTMLInputElement | null>;
  change: (part: Partial<Link>) => void;
}

/** Stands for the table where no row passes. A glob has to match whole paths, as in `assert_trains`: offers the one that was likely meant. */
function Nothing({ empty, query, change }: { empty: boolean; query: string; change: (part: Partial<Link>) => void }) {
  const wider = isGlob(query) && !query.includes(" ") ? `*${query.replace(/^\*+|\*+$/g, "")}*` : query;
  if (empty) return <p class="nothing">The model holds no variables.</p>;
  return (
    <p class="nothing" role="status">
      No variable matches.{" "}
      {wider !== query && (
        <>
          A glob matches whole paths: try{" "}
          <button type="button" class="link" onClick={() => change({ query: wider })}>
            {wider}
          </button>
          {", or "}
        </>
      )}
      <button type="button" class="link" onClick={() => change({ query: "", filter: "all", finding: null })}>
        {wider !== query ? "show all" : "Show all"}
      </button>
    </p>
  );
}

/** The table with its toolbar, and the details beside it. */
export function Body({ report, norms, proof, marks, link, normsToken, searchBox, change }: Props) {
  const view = useRows(report, norms, proof, link);
  const finding = link.finding === null ? undefined : report.findings[link.finding];
  const select = (node: number) =>
    change({ selection: { kind: isVariable(view.tree, node) ? "variable" : "layer", name: pathOfNode(view.tree, node) } });
  return (
    <div class="body">
      <div class="main">
        <Toolbar
          query={link.query}
          filter={link.filter}
          counts={view.counts}
          matched={view.rows.matched}
          total={report.paths.length}
          grouped={link.grouped}
          finding={finding ? `Named by ${finding.wire.rule}` : null}
          searchBox={searchBox}
          onQuery={(query) => change({ query })}
          onFilter={(filter) => change({ filter })}
          onGrouped={(grouped) => change({ grouped })}
          onClearFinding={() => change({ finding: null })}
          onFoldAll={view.foldAll}
        />
        {view.rows.nodes.length === 0 ? (
          <Nothing empty={report.paths.length === 0} query={link.query} change={change} />
        ) : (
          <Table
            tree={view.tree}
            rows={view.rows}
            norms={norms}
            query={link.query}
            grouped={link.grouped}
            sort={link.sort}
            selected={view.selected}
            isOpen={view.isOpen}
            onSort={(sort) => change({ sort })}
            onToggle={view.toggle}
            onSelect={select}
          />
        )}
      </div>
      <Detail
        report={report}
        tree={view.tree}
        selection={link.selection}
        finding={link.finding}
        marks={marks}
        normsToken={normsToken}
        onSelect={(selection) => change({ selection })}
        onFilter={(index) => change({ finding: index, filter: "all", query: "" })}
      />
    </div>
  );
}
