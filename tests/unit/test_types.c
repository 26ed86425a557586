/* SPDX-License-Identifier: Apache-2.0
 * test_types.c - types of blocks: ways to bytes, votes of pointers on hand-made streams, names of containers. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/containers.h"
#include "core/ingest_cells.h"
#include "core/layout.h"
#include "core/names.h"
#include "core/stream.h"
#include "stream_builder.h"
#include "stream_file.h"
#include "test.h"

/* struct link { struct link *next, *prev; };
 * struct entry { struct entry *next; char *body; struct link all; union { struct entry *e; char *c; } u; void *any; };
 * struct table { long count; struct entry *buckets[4]; };
 * struct packet { long length; struct entry *first; char data[]; }; */
static struct layouts all;
static uint32_t chars, longs, chars_pointer, void_pointer, link_type, entry, entry_pointer, table, packet, table_pointer,
	link_pointer;

static uint32_t add(const char *name, enum layout_kind kind, uint64_t bytes, uint32_t target, uint64_t count)
{
	struct layout layout = { .name = name, .kind = kind, .bytes = bytes, .target = target, .count = count, .file = "" };
	uint32_t number = 0;

	EXPECT_INT_EQ(layouts_add(&all, &layout, &number), 0);
	return number;
}

static void members(uint32_t owner, const struct layout_member *list, uint32_t count)
{
	ASSERT_INT_EQ(layouts_set_members(&all, owner, list, count), 0);
}

static void make_layouts(void)
{
	uint32_t buckets, choice, data;

	ASSERT_INT_EQ(layouts_init(&all), 0);
	chars = add("char", LAYOUT_KIND_BASE, 1, 0, 0);
	longs = add("long", LAYOUT_KIND_BASE, 8, 0, 0);
	chars_pointer = add("char *", LAYOUT_KIND_POINTER, 8, chars, 0);
	void_pointer = add("void *", LAYOUT_KIND_POINTER, 8, LAYOUT_VOID, 0);
	link_type = add("struct link", LAYOUT_KIND_STRUCT, 16, 0, 0);
	link_pointer = add("struct link *", LAYOUT_KIND_POINTER, 8, link_type, 0);
	entry = add("struct entry", LAYOUT_KIND_STRUCT, 48, 0, 0);
	entry_pointer = add("struct entry *", LAYOUT_KIND_POINTER, 8, entry, 0);
	choice = add("union", LAYOUT_KIND_UNION, 8, 0, 0);
	buckets = add("struct entry *[4]", LAYOUT_KIND_ARRAY, 32, entry_pointer, 4);
	data = add("char[]", LAYOUT_KIND_ARRAY, 0, chars, 0);
	table = add("struct table", LAYOUT_KIND_STRUCT, 40, 0, 0);
	table_pointer = add("struct table *", LAYOUT_KIND_POINTER, 8, table, 0);
	packet = add("struct packet", LAYOUT_KIND_STRUCT, 16, 0, 0);
	members(link_type, (struct layout_member[]){ { "next", 0, link_pointer, false }, { "prev", 8, link_pointer, false } }, 2);
	members(choice, (struct layout_member[]){ { "e", 0, entry_pointer, false }, { "c", 0, chars_pointer, false } }, 2);
	members(entry, (struct layout_member[]){ { "next", 0, entry_pointer, false }, { "body", 8, chars_pointer, false },
						 { "all", 16, link_type, false }, { "u", 32, choice, false },
						 { "any", 40, void_pointer, false } }, 5);
	members(table, (struct layout_member[]){ { "count", 0, longs, false }, { "buckets", 8, buckets, false } }, 2);
	members(packet, (struct layout_member[]){ { "length", 0, longs, false }, { "first", 8, entry_pointer, false },
						  { "data", 16, data, false } }, 3);
}

static const char *way(uint32_t layout, uint64_t bytes, uint64_t offset)
{
	static char buffer[80];
	struct text text = { 0 };
	bool found = layouts_path(&all, layout, bytes, offset, &text);

	snprintf(buffer, sizeof(buffer), "%s%s", found ? "" : "?", text.data ? text.data : "");
	text_done(&text);
	return buffer;
}

TEST(a_byte_of_a_type_has_a_way_to_it)
{
	make_layouts();
	EXPECT_STR_EQ(way(table, 40, 24), ".buckets[2]");
	EXPECT_STR_EQ(way(entry, 48, 24), ".all.prev");
	EXPECT_STR_EQ(way(entry, 96, 56), "[1].body");
	EXPECT_STR_EQ(way(entry, 48, 32), ".u.e");
	EXPECT_STR_EQ(way(packet, 100, 90), ".data[74]");
	EXPECT_STR_EQ(way(entry_pointer, 32, 24), "[3]");
	EXPECT_STR_EQ(way(entry_pointer, 8, 0), "");
	EXPECT_STR_EQ(way(entry, 48, 3), "?");
	EXPECT_STR_EQ(way(entry, 48, 48), "?");
	layouts_done(&all);
}

TEST(types_alike_are_one_and_members_in_circles_end)
{
	uint32_t again, circle;

	make_layouts();
	again = add("struct entry", LAYOUT_KIND_STRUCT, 48, 0, 0);
	EXPECT_U64_EQ(again, entry);
	circle = add("struct circle", LAYOUT_KIND_STRUCT, 8, 0, 0);
	members(circle, (struct layout_member[]){ { "self", 0, circle, false } }, 1);
	EXPECT_STR_EQ(way(circle, 8, 0), "?");
	EXPECT_U64_EQ(layouts_pointer_at(&all, circle, 8, 0), LAYOUT_NONE);
	EXPECT_INT_EQ(layouts_fit(&all, entry, 40), LAYOUT_FITS_NOT);
	EXPECT_INT_EQ(layouts_fit(&all, entry, 48), LAYOUT_FITS_ONE);
	EXPECT_INT_EQ(layouts_fit(&all, entry, 96), LAYOUT_FITS_ARRAY);
	EXPECT_INT_EQ(layouts_fit(&all, entry, 100), LAYOUT_FITS_LONGER);
	EXPECT_INT_EQ(layouts_fit(&all, packet, 96), LAYOUT_FITS_FLEXIBLE);
	layouts_done(&all);
}

/* ---- votes ---- */

#define BLOCKS 8

struct world {
	struct builder builder;
	struct stream *stream;
	struct cells cells;
};

/* Blocks of these sizes at 0x1000, 0x2000, ...; references are added with refer(). */
static void begin(struct world *w, const uint64_t sizes[BLOCKS])
{
	*w = (struct world){ 0 };
	make_layouts();
	builder_meta(&w->builder, "pid", "7");
	for (uint32_t i = 0; i < BLOCKS; i++)
		builder_block(&w->builder, 0x1000 * (i + 1ull), sizes[i], 100 + i, 0);
}

static void refer(struct world *w, uint32_t from, uint64_t offset, uint32_t to, uint64_t into)
{
	builder_edge(&w->builder, false, from, STREAM_LABEL_OFFSET, offset, to, into);
}

/* Each block is a cell, or by itself (single); a root of type `root_layout` points at block 0. */
static int propagate(struct world *w, uint32_t root_layout, bool single)
{
	struct cell_root root = { root_layout, 0x9000, 0x9008 };
	struct cell_root_edge edge = { 0, 0, 0x9000, 0 };
	size_t size;
	uint8_t *bytes = builder_finish(&w->builder, &size);
	char *error = NULL;
	int fd = file_of(bytes, size);

	if (stream_read(fd, NULL, NULL, &w->stream, &error) < 0)
		exit(2);
	close(fd);
	free(bytes);
	w->cells.of_node = calloc(BLOCKS, sizeof(uint32_t));
	w->cells.cells = calloc(BLOCKS, sizeof(struct cell));
	w->cells.singles = calloc(BLOCKS, sizeof(struct cell_single));
	w->cells.count = BLOCKS;
	for (uint32_t i = 0; i < BLOCKS; i++) {
		w->cells.of_node[i] = single ? CELL_SINGLE : i;
		w->cells.cells[i] = (struct cell){ .bytes = w->stream->node_bytes[i], .nodes = 1, .stack = i };
	}
	return cells_propagate(&w->cells, w->stream, &all, &root, &edge, 1);
}

static void end(struct world *w)
{
	stream_free(w->stream);
	free(w->cells.of_node);
	free(w->cells.cells);
	free(w->cells.singles);
	layouts_done(&all);
}

TEST(a_typed_variable_types_all_that_it_leads_to)
{
	static const uint64_t sizes[BLOCKS] = { 40, 48, 48, 1000, 48, 48, 24, 48 };
	struct world w;

	begin(&w, sizes);
	refer(&w, 0, 8, 1, 0);			/* table.buckets[0] -> entry 1 */
	refer(&w, 1, 0, 2, 0);			/* entry.next -> entry 2 */
	refer(&w, 2, 8, 3, 0);			/* entry.body -> bytes */
	refer(&w, 2, 16, 4, 16);		/* entry.all.next -> the link inside an entry */
	refer(&w, 4, 40, 5, 0);			/* entry.any says nothing */
	refer(&w, 4, 32, 6, 0);			/* nor does the union */
	refer(&w, 4, 0, 7, 1);			/* a tagged pointer */
	EXPECT(propagate(&w, table_pointer, false) > 1);
	EXPECT_U64_EQ(w.cells.cells[0].layout, table);
	EXPECT_U64_EQ(w.cells.cells[1].layout, entry);
	EXPECT_U64_EQ(w.cells.cells[2].layout, entry);
	EXPECT_U64_EQ(w.cells.cells[3].layout, chars);
	EXPECT_U64_EQ(w.cells.cells[4].layout, entry);
	EXPECT_U64_EQ(w.cells.cells[5].layout, LAYOUT_VOID);
	EXPECT_U64_EQ(w.cells.cells[6].layout, LAYOUT_VOID);
	EXPECT_U64_EQ(w.cells.cells[7].layout, entry);
	EXPECT_INT_EQ(w.cells.cells[1].method, CELL_POINTERS);
	EXPECT_U64_EQ(w.cells.cells[1].agree, 1);
	end(&w);
}

TEST(blocks_without_stacks_are_typed_one_by_one)
{
	static const uint64_t sizes[BLOCKS] = { 40, 48, 96, 20, 8, 8, 8, 8 };
	struct world w;

	begin(&w, sizes);
	refer(&w, 0, 8, 1, 0);
	refer(&w, 0, 16, 2, 48);		/* the second of an array */
	refer(&w, 1, 0, 3, 0);			/* too small for an entry */
	EXPECT(propagate(&w, table_pointer, true) > 0);
	EXPECT_U64_EQ(w.cells.singles[0].layout, table);
	EXPECT_U64_EQ(w.cells.singles[1].layout, entry);
	EXPECT_U64_EQ(w.cells.singles[2].layout, entry);
	EXPECT_U64_EQ(w.cells.singles[3].layout, LAYOUT_VOID);
	EXPECT_U64_EQ(w.cells.singles[4].layout, LAYOUT_VOID);
	end(&w);
}

TEST(what_the_site_said_stays_unless_all_pointers_deny_it)
{
	static const uint64_t sizes[BLOCKS] = { 40, 48, 48, 48, 8, 8, 8, 8 };
	struct world w;

	begin(&w, sizes);
	for (uint32_t i = 1; i < 4; i++)
		refer(&w, 0, 8 * i, i, 0);
	ASSERT_INT_EQ(propagate(&w, LAYOUT_VOID, false), 1);	/* nobody knows anything: one pass */
	w.cells.cells[0] = (struct cell){ .bytes = 40, .layout = table, .method = CELL_VARIABLE, .confidence = 3 };
	w.cells.cells[1] = (struct cell){ .bytes = 48, .layout = link_type, .method = CELL_VARIABLE, .confidence = 3 };
	w.cells.cells[2] = (struct cell){ .bytes = 48, .layout = chars, .method = CELL_VARIABLE, .confidence = 3 };
	w.cells.cells[3] = (struct cell){ .bytes = 48, .layout = entry, .method = CELL_FIELD, .confidence = 2 };
	EXPECT(cells_propagate(&w.cells, w.stream, &all, NULL, NULL, 0) > 1);
	EXPECT_U64_EQ(w.cells.cells[1].layout, link_type);	/* certain, but denied: less so */
	EXPECT_INT_EQ(w.cells.cells[1].confidence, 2);
	EXPECT_U64_EQ(w.cells.cells[1].disagree, 1);
	EXPECT_U64_EQ(w.cells.cells[2].layout, entry);		/* bytes give way to a structure */
	EXPECT_INT_EQ(w.cells.cells[2].method, CELL_POINTERS);
	EXPECT_INT_EQ(w.cells.cells[3].method, CELL_FIELD);
	EXPECT_U64_EQ(w.cells.cells[3].agree, 1);
	end(&w);
}

/* ---- names ---- */

static const char *container(const char *const *functions, unsigned count)
{
	static char buffer[200];
	struct text text = { 0 };
	bool found = containers_name_stack(functions, count, &text);

	snprintf(buffer, sizeof(buffer), "%s", found && text.data ? text.data : "none");
	text_done(&text);
	return buffer;
}

TEST(what_a_container_allocates_is_named_by_its_elements)
{
	static const char *const map_node[] = {
		"std::__new_allocator<std::_Rb_tree_node<std::pair<int const, std::__cxx11::basic_string<char, "
		"std::char_traits<char>, std::allocator<char> > > > >::allocate(unsigned long, void const*)", "main" };
	static const char *const hash_node[] = {
		"__gnu_cxx::new_allocator<std::__detail::_Hash_node<std::pair<std::string const, Session>, true> >::allocate",
		"std::_Hashtable<std::string, std::pair<std::string const, Session> >::_M_insert" };
	static const char *const buckets[] = {
		"std::__new_allocator<std::__detail::_Hash_node_base*>::allocate(unsigned long, void const*)",
		"std::_Hashtable<int, int, std::allocator<int>, std::__detail::_Identity>::_M_rehash(unsigned long)" };
	static const char *const vector[] = {
		"std::__new_allocator<Point>::allocate(unsigned long, void const*)",
		"std::_Vector_base<Point, std::allocator<Point> >::_M_allocate(unsigned long)",
		"void std::vector<Point, std::allocator<Point> >::_M_realloc_insert<Point>(Point&&)" };
	static const char *const libcxx[] = {
		"std::__1::allocator<std::__1::__tree_node<std::__1::__value_type<int, Job>, void*> >::allocate(unsigned long)" };
	static const char *const shared[] = {
		"std::__new_allocator<std::_Sp_counted_ptr_inplace<Session, std::allocator<void>, "
		"(__gnu_cxx::_Lock_policy)2> >::allocate(unsigned long, void const*)" };
	static const char *const string[] = { "std::__cxx11::basic_string<char, std::char_traits<char>, std::allocator<char> >::"
					      "_M_create(unsigned long&, unsigned long)", "main" };
	static const char *const short_string[] = { "std::string::_M_assign", "set_path" };
	static const char *const in_vector[] = {
		"std::__new_allocator<char>::allocate", "std::string::_M_construct<char*>", "Point::Point",
		"std::vector<Point>::_M_realloc_insert<Point>" };
	static const char *const in_node[] = {		/* the key's text, as the node is made */
		"std::string::_M_construct<char*>", "std::string::basic_string", "std::pair<std::string const, int>::pair",
		"std::__new_allocator<std::_Rb_tree_node<std::pair<std::string const, int>>>::construct<std::pair<std::string const, "
		"int>>", "std::_Rb_tree<std::string, std::pair<std::string const, int>>::_M_create_node", "main" };
	static const char *const element[] = {		/* what a constructor makes for itself */
		"std::pair<int const, Body>::pair<int const&>",
		"std::allocator_traits<std::allocator<std::_Rb_tree_node<std::pair<int const, Body>>>>::construct<std::pair<int const, "
		"Body>>", "std::_Rb_tree<int, std::pair<int const, Body>>::_M_create_node", "main" };
	static const char *const own[] = { "handle_put", "main" }, *const broken[] = { "std::allocator<<<<>::allocate" };

	EXPECT_STR_EQ(container(map_node, 2), "std::map<int, std::string> node");
	EXPECT_STR_EQ(container(hash_node, 2), "std::unordered_map<std::string, Session> node");
	EXPECT_STR_EQ(container(buckets, 2), "std::unordered_set<int> buckets");
	EXPECT_STR_EQ(container(vector, 3), "std::vector<Point> storage");
	EXPECT_STR_EQ(container(libcxx, 1), "std::map<int, Job> node");
	EXPECT_STR_EQ(container(shared, 1), "std::shared_ptr<Session> control block");
	EXPECT_STR_EQ(container(string, 2), "std::string storage");
	EXPECT_STR_EQ(container(short_string, 2), "std::string storage");
	EXPECT_STR_EQ(container(in_vector, 4), "std::string storage");
	EXPECT_STR_EQ(container(in_node, 6), "std::string storage");
	EXPECT_STR_EQ(container(element, 4), "none");
	EXPECT_STR_EQ(container(own, 2), "none");
	EXPECT_STR_EQ(container(broken, 1), "none");
}

static const char *owned(char *text)
{
	static char buffer[100];

	snprintf(buffer, sizeof(buffer), "%s", text ? text : "(no memory)");
	free(text);
	return buffer;
}

TEST(labels_of_many_references_have_their_indices_folded)
{
	EXPECT_STR_EQ(owned(names_common_label(".buckets[3]", ".buckets[17]")), ".buckets[*]");
	EXPECT_STR_EQ(owned(names_common_label(".buckets[3].next", ".buckets[3].next")), ".buckets[3].next");
	EXPECT_STR_EQ(owned(names_common_label(".left", ".right")), ".*");
	EXPECT_STR_EQ(owned(names_common_label("[1]", "[2].a")), "[*]");
	EXPECT_STR_EQ(owned(names_common_label("+8", ".a")), "...");
	EXPECT_STR_EQ(owned(names_folded_label(".rows[3].cells[12]")), ".rows[*].cells[*]");
	EXPECT_STR_EQ(owned(names_folded_label("['key']")), "[*]");
}

TEST(a_buffer_is_shown_with_its_size_and_found_by_what_is_shown)
{
	static const char name[] = "char[] from handle_put server.c:120";
	struct text text = { 0 };

	names_type(&text, name, HEAP_TYPE_DWARF, true, 4096);
	EXPECT_STR_EQ(text.data, "4096 B char[] from handle_put server.c:120");
	EXPECT(names_type_equals(text.data, name, HEAP_TYPE_DWARF, 4096));
	EXPECT(!names_type_equals(text.data, name, HEAP_TYPE_DWARF, 4097));
	text_done(&text);
	text = (struct text){ 0 };
	names_type_held(&text, name, HEAP_TYPE_DWARF, 4096);
	EXPECT_STR_EQ(text.data, "char[4096] from handle_put server.c:120");
	EXPECT_U64_EQ(names_type_length(text.data), strlen("char[4096]"));
	text_done(&text);
	text = (struct text){ 0 };
	names_type_held(&text, "struct entry", HEAP_TYPE_DWARF, 40);
	EXPECT_STR_EQ(text.data, "struct entry");
	text_done(&text);
}

TEST_MAIN()
