-- SPDX-License-Identifier: Apache-2.0
-- schema.sql - layout of a snapshot file, format 1.4. Explained in docs/FORMAT.md.
--
-- Addresses are process addresses, bytes are bytes, *_ns are nanoseconds. A birth is a number that
-- grows with every allocation of the process: with the address it is a block's identity. An id that
-- is NULL is unknown. Nothing here holds the contents of memory.

CREATE TABLE meta (               -- one row a fact about the snapshot, see docs/FORMAT.md
	key TEXT PRIMARY KEY,
	value TEXT NOT NULL       -- decimal for numbers; *_ns nanoseconds, *bytes bytes
) WITHOUT ROWID;

CREATE TABLE account (            -- where resident memory is; the parts sum to 'total'
	part TEXT PRIMARY KEY,    -- live, allocator, python, stacks, files, shared, leakdiff, other, total
	bytes INTEGER NOT NULL    -- resident bytes
) WITHOUT ROWID;

CREATE TABLE account_details (    -- what three of these parts are made of; each sums to its part (1.3)
	part TEXT NOT NULL,       -- account.part: live, allocator, files
	name TEXT NOT NULL,       -- see docs/FORMAT.md
	bytes INTEGER NOT NULL,   -- resident bytes
	PRIMARY KEY (part, name)
) WITHOUT ROWID;

CREATE TABLE arenas (             -- what the allocator's arenas hold; a column is NULL where that allocator does not say (1.3)
	id INTEGER PRIMARY KEY,
	kind INTEGER NOT NULL,    -- 1 glibc, 2 glibc: chunks with a mapping of their own, 3 jemalloc, 4 all of jemalloc, 5 tcmalloc, 6 mimalloc
	number INTEGER NOT NULL,  -- 0 = the first or main one
	threads INTEGER,          -- threads that allocate from it
	unread TEXT NOT NULL,     -- why only its size is known; '' = all is
	start INTEGER NOT NULL,   -- address of its record; 0 = no place
	mapped_bytes INTEGER,     -- address space
	resident_bytes INTEGER,
	live_bytes INTEGER,       -- requested bytes of recorded blocks in it
	live_count INTEGER,
	used_bytes INTEGER,       -- chunks in use, headers and rounding included, caches not
	used_count INTEGER,
	free_bytes INTEGER,       -- holes between chunks in use
	free_count INTEGER,
	free_resident_bytes INTEGER,
	largest_free_bytes INTEGER, -- the largest hole
	top_bytes INTEGER,        -- free up to the end
	top_resident_bytes INTEGER,
	cached_bytes INTEGER,     -- freed, and kept for the next of that size by a thread or a list
	cached_count INTEGER,
	unrecorded_bytes INTEGER, -- in use, but no block that was recorded
	unrecorded_count INTEGER,
	trim_bytes INTEGER,       -- whole resident pages that are free: what malloc_trim() or a purge would give back
	dirty_bytes INTEGER,      -- free pages that were not given back yet
	muzzy_bytes INTEGER,      -- free pages that were given back lazily
	metadata_bytes INTEGER,   -- the allocator's own records
	retained_bytes INTEGER,   -- address space kept without memory
	decay_ms INTEGER          -- after how long dirty pages are given back
);

CREATE TABLE arena_classes (      -- sizes of what is free and in use in an arena, by powers of two (1.3)
	arena INTEGER NOT NULL,   -- arenas.id
	low_bytes INTEGER NOT NULL, -- sizes from this up to its double
	free_count INTEGER NOT NULL,
	free_bytes INTEGER NOT NULL,
	used_count INTEGER NOT NULL,
	used_bytes INTEGER NOT NULL,
	PRIMARY KEY (arena, low_bytes)
) WITHOUT ROWID;

CREATE TABLE notes (              -- what is uncertain about this snapshot
	id INTEGER PRIMARY KEY,
	note TEXT NOT NULL        -- one sentence
);

CREATE TABLE modules (            -- loaded ELF objects, each with the period in which it was mapped
	id INTEGER PRIMARY KEY,
	name TEXT NOT NULL,       -- base name
	path TEXT NOT NULL,       -- as the dynamic linker had it
	build_id TEXT,            -- hexadecimal
	base INTEGER NOT NULL,    -- load bias: address - base is the address in the file
	start INTEGER NOT NULL,   -- lowest address
	end INTEGER NOT NULL,     -- one past the highest address
	first_birth INTEGER NOT NULL, -- birth number when first seen; 0 = before capture began
	last_birth INTEGER,       -- birth number when unloaded; NULL = still mapped
	generation INTEGER NOT NULL,  -- tells apart what was mapped at one address one after the other
	flags INTEGER NOT NULL,   -- 1 program, 2 leakdiff, 4 allocator, 8 libc or dynamic linker
	symbols TEXT NOT NULL     -- where names came from: 'dwarf', 'symtab', 'none', 'missing', 'other build', 'unused'
);

CREATE TABLE maps (               -- the process's mappings
	id INTEGER PRIMARY KEY,
	start INTEGER NOT NULL,   -- address
	end INTEGER NOT NULL,     -- address, one past the last
	kind TEXT NOT NULL,       -- file, module-data, heap, stack, shared, program, other, own, kernel, python
	prot TEXT NOT NULL,       -- as in /proc/PID/maps: 'rw-p'
	file_offset INTEGER NOT NULL, -- bytes
	rss_bytes INTEGER,        -- resident bytes; NULL = unknown
	pss_bytes INTEGER,        -- proportional share, bytes; NULL = unknown
	swap_bytes INTEGER,       -- bytes
	live_resident_bytes INTEGER,  -- bytes of live blocks in resident pages
	name TEXT NOT NULL,       -- path, [heap], [stack], ...
	module INTEGER            -- modules.id
);

CREATE TABLE threads (            -- threads at the moment of the snapshot
	id INTEGER PRIMARY KEY,
	tid INTEGER NOT NULL,     -- as the service sees it
	name TEXT NOT NULL,       -- 'main' or 'NAME (tid N)'
	stop TEXT NOT NULL,       -- how it was stopped: ptrace, signal, none (it ran on), self
	syscall INTEGER,          -- number of the system call it was blocked in; NULL = running
	sp INTEGER,               -- stack pointer, address
	stack_start INTEGER,      -- address
	stack_end INTEGER         -- address
);

CREATE TABLE frames (             -- code locations, each once
	id INTEGER PRIMARY KEY,
	function TEXT NOT NULL,   -- demangled; 'module+0xoffset' when there is no symbol
	file TEXT NOT NULL,       -- path as compiled; '' = unknown
	line INTEGER NOT NULL,    -- 0 = unknown
	module TEXT NOT NULL,     -- base name; '' = unknown
	language TEXT NOT NULL,   -- 'c', 'c++', 'rust', 'python', ...; '' = unknown
	inlined INTEGER NOT NULL  -- 1 = expanded into the next outer frame
);

CREATE TABLE stacks (             -- allocation stacks
	id INTEGER PRIMARY KEY,
	type INTEGER NOT NULL,    -- types.id of the allocation site
	depth INTEGER NOT NULL,   -- number of frames
	truncated INTEGER NOT NULL, -- 1 = deeper frames were cut when the stack was recorded
	frames TEXT NOT NULL      -- JSON array of frames.id, innermost (what called the allocator) first
);

CREATE TABLE python_threads (     -- Python's threads, asyncio tasks and greenlets
	id INTEGER PRIMARY KEY,
	kind TEXT NOT NULL,       -- thread, task, greenlet
	name TEXT NOT NULL,       -- as threading or asyncio knows it; of a greenlet its type
	thread INTEGER,           -- threads.id of a thread
	object INTEGER,           -- address of the task or greenlet
	state TEXT NOT NULL       -- of a task: what it awaits
);

CREATE TABLE python_frames (      -- where each of them was, innermost first
	owner INTEGER NOT NULL,   -- python_threads.id
	depth INTEGER NOT NULL,   -- 0 = innermost
	function TEXT NOT NULL,
	file TEXT NOT NULL,
	line INTEGER NOT NULL,    -- 0 = unknown
	locals TEXT NOT NULL,     -- names of the local variables; values only when the service was told so
	PRIMARY KEY (owner, depth)
) WITHOUT ROWID;

CREATE TABLE python_caches (      -- functools.lru_cache: how full each is
	id INTEGER PRIMARY KEY,
	node INTEGER NOT NULL,    -- nodes.id of the wrapper
	entries INTEGER NOT NULL, -- number of entries
	maxsize INTEGER,          -- the bound; -1 = none (maxsize=None); NULL = could not be read
	hits INTEGER,             -- calls answered from it; NULL = could not be read
	misses INTEGER            -- calls that were not
);

CREATE TABLE tracebacks (         -- where each thread was, innermost first
	thread INTEGER NOT NULL,  -- threads.id
	depth INTEGER NOT NULL,   -- 0 = innermost
	frame INTEGER NOT NULL,   -- frames.id
	pc INTEGER NOT NULL,      -- address
	cfa INTEGER NOT NULL,     -- address one past this frame on the stack
	PRIMARY KEY (thread, depth)
) WITHOUT ROWID;

CREATE TABLE types (              -- what nodes are
	id INTEGER PRIMARY KEY,
	name TEXT NOT NULL,       -- without a size
	source INTEGER NOT NULL,  -- 0 kind, 1 allocation site, 2 DWARF, 3 RTTI, 4 Python
	layout INTEGER,           -- layouts.id of one element; NULL = unknown (1.4)
	header INTEGER            -- bytes in front of the first element (1.4)
);

CREATE TABLE type_evidence (      -- why nodes have the types of C and C++ that they have (1.4)
	id INTEGER PRIMARY KEY,
	type INTEGER NOT NULL,    -- types.id
	stack INTEGER,            -- stacks.id; NULL = of nodes without a stack
	method TEXT NOT NULL,     -- rtti, attribute, variable, field, return, new, container, pointers
	confidence TEXT NOT NULL, -- certain, likely, possible
	evidence TEXT NOT NULL,   -- 'variable e in entry_new', 'field struct entry.body'
	agree INTEGER NOT NULL,   -- typed pointers that lead to these nodes and say the same
	disagree INTEGER NOT NULL, -- typed pointers that say something else
	count INTEGER NOT NULL,   -- number of nodes
	bytes INTEGER NOT NULL    -- requested bytes of all
);

CREATE TABLE layouts (            -- types of C and C++ as they lie in memory: those of nodes and roots, and what they lead to (1.4)
	id INTEGER PRIMARY KEY,   -- 0 is void
	name TEXT NOT NULL,       -- 'struct entry', 'char', 'struct entry *'
	kind TEXT NOT NULL,       -- void, base, pointer, struct, union, array, function
	bytes INTEGER NOT NULL,   -- size; 0 = unknown
	target INTEGER NOT NULL,  -- layouts.id of what a pointer points at, or of an array's elements; else 0
	count INTEGER NOT NULL,   -- elements of an array; 0 = unknown
	file TEXT NOT NULL,       -- where it is declared; '' = unknown
	line INTEGER NOT NULL     -- 0 = unknown
);

CREATE TABLE layout_members (     -- of structures and unions, ascending by offset (1.4)
	id INTEGER PRIMARY KEY,   -- those of one layout are adjacent
	layout INTEGER NOT NULL,  -- layouts.id of the owner
	name TEXT NOT NULL,       -- '' = anonymous, or a base class
	offset INTEGER NOT NULL,  -- bytes from the owner's first
	type INTEGER NOT NULL,    -- layouts.id
	is_base INTEGER NOT NULL  -- 1 = a base class
);

CREATE TABLE sites (              -- live nodes by type, allocation stack and size; sums are exact
	id INTEGER PRIMARY KEY,
	type INTEGER NOT NULL,    -- types.id
	stack INTEGER,            -- stacks.id
	size INTEGER,             -- requested bytes of each; NULL = the remaining, rarer sizes of this type and stack
	count INTEGER NOT NULL,   -- number of nodes
	bytes INTEGER NOT NULL    -- requested bytes of all
);

CREATE TABLE estimates (          -- mode lite: what the blocks stand for whose stacks were sampled, by stack (1.3)
	stack INTEGER PRIMARY KEY,   -- stacks.id
	samples INTEGER NOT NULL,    -- live blocks with this stack
	count INTEGER NOT NULL,      -- estimated number of live blocks from there
	bytes INTEGER NOT NULL,      -- estimated requested bytes of them
	error_bytes INTEGER NOT NULL -- standard error of `bytes`
);

CREATE TABLE roots (              -- variables, stack frames, ... that hold references
	id INTEGER PRIMARY KEY,
	kind TEXT NOT NULL,       -- global, stack, tls, register, mapping, python-module, python-frame, python-c
	name TEXT NOT NULL,       -- 'g_cache', 'handle_conn()'
	module TEXT NOT NULL,     -- base name or ''
	thread TEXT NOT NULL,     -- thread name or ''
	start INTEGER NOT NULL,   -- address
	end INTEGER NOT NULL,     -- address, one past the last; both 0 for registers
	layout INTEGER,           -- layouts.id of the variable; NULL = unknown (1.4)
	file TEXT,                -- where the variable is declared, path as compiled; NULL = unknown (1.4)
	line INTEGER              -- NULL = unknown (1.4)
);

CREATE TABLE clock (              -- birth numbers against time
	id INTEGER PRIMARY KEY,
	birth INTEGER NOT NULL,
	realtime_ns INTEGER NOT NULL, -- nanoseconds since 1970
	monotonic_ns INTEGER NOT NULL
);

CREATE TABLE strings (            -- names in labels of references (attributes, keys)
	id INTEGER PRIMARY KEY,
	text TEXT NOT NULL
);

CREATE TABLE node_chunks (        -- 65536 nodes a row: columns, delta and varint coded, zstd with checksum
	id INTEGER PRIMARY KEY,
	first INTEGER NOT NULL,   -- node id of the first
	count INTEGER NOT NULL,   -- number of nodes
	data BLOB NOT NULL
);

CREATE TABLE edge_chunks (        -- references out of graph nodes; graph id = node id, or nodes + root id
	id INTEGER PRIMARY KEY,
	first_source INTEGER NOT NULL, -- graph id of the first source
	last_source INTEGER NOT NULL,  -- graph id of the last; it may go on in the next row
	count INTEGER NOT NULL,   -- number of references
	targets BLOB NOT NULL,    -- sources and targets
	labels BLOB NOT NULL      -- kinds, values and interior offsets, in the same order
);

-- The two big arrays as tables. `leakdiff sql` brings the code that reads them.
CREATE VIRTUAL TABLE nodes USING leakdiff_nodes;
CREATE VIRTUAL TABLE edges USING leakdiff_edges;

CREATE VIEW stack_frames AS       -- stack: stacks.id, depth: 0 = innermost, frame: frames.id
	SELECT stacks.id AS stack, key AS depth, value AS frame FROM stacks, json_each(stacks.frames);

CREATE VIEW v_stacks AS           -- one text per stack, innermost frame first
	SELECT id, (SELECT group_concat(line, ' <- ') FROM (
		SELECT function || CASE WHEN line > 0 THEN ' ' || file || ':' || line ELSE '' END ||
			CASE WHEN module <> '' THEN ' (' || module || ')' ELSE '' END AS line
		FROM json_each(stacks.frames) JOIN frames ON frames.id = value ORDER BY key)) AS text
	FROM stacks;

CREATE VIEW v_sites AS            -- sites with their names and stacks
	SELECT sites.id, types.name AS type, size, count, bytes, sites.stack, v_stacks.text AS stack_text
	FROM sites JOIN types ON types.id = sites.type LEFT JOIN v_stacks ON v_stacks.id = sites.stack;

CREATE VIEW v_estimates AS        -- estimates with their stacks, largest first
	SELECT stack, samples, count, bytes, error_bytes, v_stacks.text AS stack_text
	FROM estimates LEFT JOIN v_stacks ON v_stacks.id = stack ORDER BY bytes DESC;

CREATE VIEW v_types AS            -- live memory by type and exact size
	SELECT types.name AS type, size, sum(count) AS count, sum(bytes) AS bytes
	FROM sites JOIN types ON types.id = sites.type GROUP BY types.name, size;

CREATE VIEW v_rss AS              -- resident memory by kind of mapping, largest first
	SELECT kind, count(*) AS mappings, sum(end - start) AS mapped_bytes, sum(rss_bytes) AS rss_bytes,
		sum(pss_bytes) AS pss_bytes, sum(swap_bytes) AS swap_bytes,
		sum(live_resident_bytes) AS live_resident_bytes
	FROM maps GROUP BY kind ORDER BY 4 DESC;

CREATE VIEW v_tracebacks AS       -- one line per frame of each thread
	SELECT threads.tid, threads.name AS thread, depth, function, file, line, module, inlined
	FROM tracebacks JOIN threads ON threads.id = thread JOIN frames ON frames.id = frame
	ORDER BY thread, depth;
