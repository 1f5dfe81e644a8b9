"""
The agent: one test body over every way to it.

    this process --execnet-- agent in this kernel's namespaces     (over=local)
                 --execnet-- agent in a guest kernel               (over=guest)
"""

import errno
import re

import pytest

from lab.errors import EnvironmentProblem
from lab.machines.base import Agent, AgentBug, Call, call
from lab.machines.node import ask_all, tell_all
from lab.stack.changes import bridge, link_add, link_set
from lab.stack.differences import compared
from lab.stack.state import of


def test_a_batch_answers_in_order(any_machine):
    """Many calls are sent as one message, and their results arrive in the order of the calls."""
    results = any_machine.batch([call(Agent.hello), call(Agent.node_create, names=["a", "b"]), call(Agent.hello)])

    any_machine.call(Agent.node_close, handles=results[1])
    assert results[0]["kernel"] == results[2]["kernel"]
    assert len(set(results[1])) == 2


def test_a_kernel_refusal_arrives_as_the_oserror_that_it_was(any_machine, lab):
    """An error of the remote kernel is raised here with its own errno, and names the command."""
    with pytest.raises(FileExistsError, match=re.escape("hub: `ip link add bridge0 type bridge` failed: File exists")):
        lab.hub.node.apply(link_add("bridge0", bridge()))


def test_an_unknown_device_is_named(lab):
    """A missing device is an ENODEV with its name."""
    with pytest.raises(OSError, match="hub: device gretap9 does not exist") as refused:
        lab.hub.node.apply(link_set("gretap9", up=True))

    assert refused.value.errno == errno.ENODEV


def test_a_refusal_names_its_own_host_once(lab):
    """Of two one-way requests that fail before one that fails, the first is raised, with its host and no other."""
    for host in (lab.hub, lab.spokes[0]):
        tell_all([(host.node, host.node.call(Agent.inject, device="gretap9", frame=bytes(60)))])

    with pytest.raises(OSError, match=r"^\[Errno 19\] hub: cannot send a frame on gretap9: No such device$"):
        ask_all([(lab.spokes[0].node, lab.hub.node.call(Agent.inject, device="gretap9", frame=bytes(60)))])


def test_the_first_refusal_ends_a_batch(any_machine):
    """Calls after one that failed are not made."""
    with pytest.raises(FileNotFoundError):
        any_machine.batch(
            [
                call(Agent.node_create, names=["kept"]),
                call(
                    Agent.sysctl_write, node=any_machine.call(Agent.node_home), values={"net.ipv4.no_such_thing": "1"}
                ),
                call(Agent.sysctl_write, node=0, values={}),
            ]
        )


def test_a_rejected_request_is_raised_once(any_machine):
    """The next request gets the failure, and the one after that gets its own answer."""
    refused = call(Agent.sysctl_write, node=any_machine.call(Agent.node_home), values={"net.ipv4.no_such_thing": "1"})
    any_machine.tell([refused])
    any_machine.tell([Call("no_such_verb", (), {})])
    any_machine.tell([call(Agent.hello)])

    with pytest.raises(FileNotFoundError):
        any_machine.call(Agent.echo, token="first")

    assert any_machine.call(Agent.echo, token="second") == "second"
    any_machine.settle()


def test_an_answer_to_an_interrupted_request_is_dropped(any_machine):
    """A request whose caller was interrupted is answered later: the next one still gets its own answer."""
    any_machine.post([call(Agent.echo, token="interrupted")])
    any_machine.post([Call("no_such_verb", (), {})])

    assert any_machine.call(Agent.echo, token="next") == "next"


def test_a_program_that_does_not_end_is_one_message(lab):
    """A program is ended when its time is over, with all that it has started, and the agent goes on."""
    with pytest.raises(EnvironmentProblem, match=re.escape("hub: `sh -c 'sleep 1000; true'` did not end within 0.2 s")):
        lab.hub.node.run("sh", "-c", "sleep 1000; true", timeout=0.2)

    assert lab.hub.node.run("pgrep", "-f", "sleep [1]000")["output"] == ""
    assert lab.hub.node.run("pgrep", "-f", "python")["output"] != ""


def test_a_bug_in_the_agent_is_reported_with_its_traceback(any_machine):
    """A failure that is not the kernel's is reported as such, with its place."""
    with pytest.raises(AgentBug, match="no_such_verb"):
        any_machine.batch([Call("no_such_verb", (), {})])

    assert any_machine.call(Agent.hello)["kernel"]


def test_changes_are_undone_when_the_block_fails(lab):
    """A change for a block is taken back whatever happens inside."""
    before = of(lab.nodes)

    with pytest.raises(ZeroDivisionError):
        with lab.hub.node.changed(link_set("bridge0", up=False), link_set("bridge0", up=True)):
            raise ZeroDivisionError

    # the multicast route went with the link: an undo of the link alone does not bring it back, and that is seen
    (lost,) = compared(before, of(lab.nodes))
    assert str(lost) == "hub route removed: 224.0.0.0/4 dev bridge0 table main"


def test_sysctls_are_put_back(lab):
    """A parameter that is changed for a block has its old value afterwards."""
    name = "net.ipv4.icmp_echo_ignore_broadcasts"

    with lab.hub.node.with_sysctl(name, 1):
        assert lab.hub.node.sysctl(name) == "1"

    assert lab.hub.node.sysctl(name) == "0"


def test_a_sysctl_that_this_kernel_lacks_reads_as_none(lab):
    """Reading a parameter that does not exist is no error: kernels differ."""
    assert lab.hub.node.sysctl("net.ipv4.no_such_thing") is None


def test_stacks_are_apart(lab):
    """Every node has its own devices, under the article's names."""
    names = {name: {link.name for link in node.read("links")} for name, node in lab.nodes.items()}

    assert "bridge0" in names["hub"]
    assert "bridge0" not in names["spoke1"] | names["spoke2"] | names["vcn"]
    assert all("ens3" in names[name] for name in lab.hosts)


def test_programs_run_inside_the_node(lab):
    """A program that the agent starts sees the node's devices only."""
    listed = lab["spoke1"].node.run("ip", "-br", "link")

    assert listed["status"] == 0
    assert "bridge0" not in listed["output"]


def test_a_missing_program_is_returned_not_raised(lab):
    """A program that is not installed is distinguished from one that failed."""
    assert lab.hub.node.run("no-such-program")["status"] is None
