// Colours for code: comments, strings, numbers, keywords and calls, by a few rules that most languages share. No parser;
// where it errs, the text is still the text.

const MOST = 60000;

const KEYWORDS = new Set(`abstract alignas alignof and as asm assert async await auto base bool boolean break byte case catch char class
  co_await co_return co_yield concept const consteval constexpr constinit continue crate debugger decltype def default defer del delete
  do done double dyn elif else elsif end enum esac except exec explicit export extends extern false fallthrough fi final finally float
  fn for foreach friend from func function global go goto if impl implements import in inline instanceof int interface internal is
  lambda let local long loop match mod module move mut mutable namespace native new nil noexcept None nonlocal not null nullptr of
  operator or override package pass private proc protected pub public raise readonly ref register repeat requires return self short
  signed sizeof static static_assert static_cast struct super switch template then this thread_local throw throws trait true True
  False try type typedef typename typeof undefined union unless unsafe unsigned until use using val var virtual void volatile when
  where while with yield`.split(/\s+/));

const SQL = new Set(`add all alter and as asc begin between by case check column commit constraint create cross database default delete
  desc distinct drop else end exists foreign from full group having in index inner insert into is join key left like limit not null on
  or order outer primary references right rollback select set table then union unique update values view when where with`.split(/\s+/));

const HASH = "#[^\\n]*", SLASHES = "\\/\\/[^\\n]*|\\/\\*[\\s\\S]*?(?:\\*\\/|$)", DASHES = "--[^\\n]*";
const COMMENTS = [
  [/^(?:py|python|python3|rb|ruby|sh|bash|zsh|shell|console|yaml|yml|toml|ini|make|makefile|dockerfile|cmake|r|julia|jl|perl|pl|elixir)$/, HASH],
  [/^(?:sql|lua|haskell|hs|ada|vhdl)$/, DASHES],
  [/^(?:html|xml|svg|vue|markdown|md)$/, "<!--[\\s\\S]*?(?:-->|$)"],
  [/^(?:tex|latex|matlab|erlang|prolog)$/, "%[^\\n]*"],
  [/^(?:lisp|clojure|scheme|asm|s)$/, ";[^\\n]*"],
  [/^(?:php)$/, `${SLASHES}|${HASH}`],
  [/^(?:|text|txt|plain|plaintext|output|diff|math)$/, null],
];
const STRINGS = '"""[\\s\\S]*?(?:"""|$)|\'\'\'[\\s\\S]*?(?:\'\'\'|$)|"(?:\\\\[^]|[^"\\\\\\n])*"?|\'(?:\\\\[^]|[^\'\\\\\\n])*\'|`(?:\\\\[^]|[^`\\\\])*`';
const NUMBERS = "\\b(?:0[xXbBoO][\\da-fA-F_']+|\\d[\\d_']*(?:\\.\\d+)?(?:[eE][+-]?\\d+)?)[a-zA-Z]{0,3}\\b";
const NAMES = "[A-Za-z_$][\\w$]*";

export function highlight(code, language) {
  const text = code.textContent, name = language.toLowerCase();
  const row = COMMENTS.find(([names]) => names.test(name));
  const comments = row ? row[1] : SLASHES;
  if (comments === null || text.length > MOST) return;
  const pattern = new RegExp(`(${comments})|(${STRINGS})|(${NUMBERS})|(${NAMES})`, "g");
  const is_keyword = name === "sql" ? (word) => SQL.has(word.toLowerCase()) : (word) => KEYWORDS.has(word);
  const pieces = [];
  let end = 0;
  for (const match of text.matchAll(pattern)) {
    const [all, comment, string, digits, word] = match;
    let kind = comment ? "c" : string ? "s" : digits ? "n" : null;
    if (word) kind = is_keyword(word) ? "k" : text[match.index + all.length] === "(" ? "f" : null;
    if (!kind) continue;
    if (match.index > end) pieces.push(text.slice(end, match.index));
    const span = document.createElement("span");
    span.className = `hl-${kind}`;
    span.textContent = all;
    pieces.push(span);
    end = match.index + all.length;
  }
  if (end < text.length) pieces.push(text.slice(end));
  code.replaceChildren(...pieces);
}
