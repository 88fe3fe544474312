import type { RefObject } from "preact";
import { formatCount } from "../model/format";
import type { Filter } from "../model/rows";
import { FILTERS } from "../model/rows";
import { Icon, type IconName } from "./icons";

interface Props {
  query: string;
  filter: Filter;
  counts: Record<Filter, number>;
  matched: number;
  total: number;
  grouped: boolean;
  /** The finding whose variables alone are shown. */
  finding: string | null;
  searchBox: RefObject<HTMLInputElement | null>;
  onQuery: (query: string) => void;
  onFilter: (filter: Filter) => void;
  onGrouped: (grouped: boolean) => void;
  onClearFinding: () => void;
  onFoldAll: () => void;
}

const FILTER_WORDS: Record<Filter, [string, IconName | null]> = {
  all: ["All", null],
  mismatch: ["Mismatches", "error"],
  yes: ["Updated", "check"],
  no: ["Not updated", "cross"],
  some: ["In some traces", "half"],
  unknown: ["Unknown", "question"],
  proof: ["Values disagree", "warning"],
};

/** Search, filters and grouping, with how many variables pass. */
export function Toolbar(props: Props) {
  const { query, filter, counts, searchBox } = props;
  const narrowed = props.matched !== props.total;
  return (
    <div class="toolbar" role="search" aria-label="Search and filter">
      <span class="search">
        <Icon name="search" />
        <input
          ref={searchBox}
          type="search"
          value={query}
          placeholder="Search, or head/*"
          aria-label="Search layers and variables by text or glob"
          spellcheck={false}
          autocomplete="off"
          onInput={(event) => props.onQuery(event.currentTarget.value)}
        />
        {query === "" && <kbd aria-hidden="true">/</kbd>}
      </span>
      <fieldset class="filters">
        <legend class="offscreen">Show</legend>
        {FILTERS.filter((name) => name === "all" || name === "mismatch" || name === filter || counts[name] > 0).map((name) => {
          const [label, icon] = FILTER_WORDS[name];
          return (
            <label key={name} class={`chip chip-${name}${counts[name] === 0 ? " zero" : ""}`}>
              <input type="radio" name="filter" value={name} checked={filter === name} onChange={() => props.onFilter(name)} />
              {icon && <Icon name={icon} size={14} />} {label} <b>{formatCount(counts[name])}</b>
            </label>
          );
        })}
      </fieldset>
      {props.finding && (
        <button type="button" class="chip active" onClick={props.onClearFinding} title="Show all variables again">
          {props.finding} <Icon name="cross" size={12} />
          <span class="offscreen">: show all variables again</span>
        </button>
      )}
      <span class="matched" role="status">
        {narrowed ? `${formatCount(props.matched)} of ${formatCount(props.total)}` : ""}
        {narrowed && <span class="offscreen"> {props.total === 1 ? "variable" : "variables"}</span>}
      </span>
      <span class="grouping">
        {props.grouped && (
          <button type="button" class="button quiet" onClick={props.onFoldAll} title="Fold all layers">
            Fold
          </button>
        )}
        <button
          type="button"
          class="button toggle"
          aria-pressed={props.grouped}
          onClick={() => props.onGrouped(!props.grouped)}
          title="Fold variables by layer, or list them all"
        >
          <Icon name="tree" /> By layer
        </button>
      </span>
    </div>
  );
}
