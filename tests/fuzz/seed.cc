// SPDX-License-Identifier: Apache-2.0
// seed.cc - what fuzz_symbols begins with: run.sh compiles it in several ways. It is never run.
extern "C" void *malloc(unsigned long);
struct node { node *next; int value; char text[]; };
union either { long number; node *pointer; };
class Node { public: virtual ~Node() {} either what; node list[2]; static Node *made; };
Node *Node::made;
static node *head;
thread_local node *last;
static inline __attribute__((always_inline)) void keep(node *n) { n->next = head; head = n; }
extern "C" node *make(int value)
{
	node *n = (node *)malloc(sizeof(node) + 8);
	node *copies[2] = { n, last };
	n->value = value;
	keep(n);
	last = copies[value & 1];
	return n;
}
extern "C" void _start() { make((int)(long)&Node::made); }
