"""Ansible: an inventory, and a playbook that puts the script and its unit on every host and runs it."""

from __future__ import annotations

from collections.abc import Mapping

from lab.boot.common import Files, head
from lab.boot.formats import shell
from lab.model import Topology

INVENTORY, PLAYBOOK = "inventory.ini", "overlay.yml"
START = f"ansible-playbook -i {INVENTORY} {PLAYBOOK}"


def beside(topology: Topology, names: Mapping[str, str]) -> Files:
    """The files that stand beside the hosts' folders, by path."""
    hosts = "".join(f"{names[node.name]} ansible_host={node.endpoint}\n" for node in topology.nodes)
    return {INVENTORY: f"{head('the hosts of the overlay')}\n[overlay]\n{hosts}", PLAYBOOK: _playbook()}


def _playbook() -> str:
    return (
        head(f"{START}; a second run changes nothing")
        + f"""- name: The overlay
  hosts: overlay
  become: true
  gather_facts: false
  handlers:
    - name: Make the overlay
      ansible.builtin.command: {shell.SCRIPT} up
  tasks:
    - name: Copy the host's files
      ansible.builtin.copy:
        src: "{{{{ inventory_hostname }}}}/"
        dest: /
        mode: preserve
      notify: Make the overlay
    - name: Look whether systemd runs here (sd_booted(3))
      ansible.builtin.stat:
        path: /run/systemd/system
      register: systemd
    - name: Run the script at boot, and now
      ansible.builtin.systemd_service:
        name: {shell.UNIT.rpartition("/")[2]}
        enabled: true
        state: started
        daemon_reload: true
      when: systemd.stat.exists
"""
    )
