"""A cluster of one node, of this user, in a folder: for tests."""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time

PROGRAMS = ("slurmctld", "slurmd", "srun", "sbatch", "scancel", "sinfo")
CONF = """\
ClusterName=tiny
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
AuthInfo=cred_expire=5
SlurmctldPort={port_1}
SlurmdPort={port_2}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
JobRequeue=1
RequeueExit=75,137
KillWait=2
ReturnToService=2
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=1000 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def is_installed():
  """Whether all of SLURM that is needed is on the PATH."""
  return all(map(shutil.which, PROGRAMS))


def up(folder):
  """Starts the cluster; returns the environment of its commands."""
  ports = [_free_port(), _free_port()]
  host = socket.gethostname().split(".")[0]
  for name in ("state", "spool"):
    (folder / name).mkdir(parents=True)
  conf = folder / "slurm.conf"
  conf.write_text(
    CONF.format(
      host=host,
      user=getpass.getuser(),
      port_1=ports[0],
      port_2=ports[1],
      folder=folder,
    )
  )
  env = dict(os.environ, SLURM_CONF=str(conf))
  subprocess.run(["slurmctld", "-f", conf], env=env, check=True)
  subprocess.run(["slurmd", "-f", conf, "-N", host], env=env, check=True)
  until = time.monotonic() + 30
  command = ["sinfo", "-h", "-o", "%T"]
  while (
    "idle"
    not in subprocess.run(
      command, env=env, capture_output=True, text=True, check=False
    ).stdout
  ):
    if time.monotonic() > until:
      raise TimeoutError((folder / "slurmctld.log").read_text()[-2000:])
    time.sleep(0.2)
  return env


def down(folder, env):
  """Ends all jobs, then the cluster."""
  user = getpass.getuser()
  subprocess.run(["scancel", "-u", user], env=env, check=False)
  for name in ("slurmd", "slurmctld"):
    file = folder / f"{name}.pid"
    if file.exists():
      os.kill(int(file.read_text()), signal.SIGTERM)


def _free_port():
  with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    return free.getsockname()[1]
