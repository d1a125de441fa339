# What a new box is told once. The three programs under box/ do the work, at each start and as often as needed.

locals {
  anyone = { for port in [3000, 4200, 5000, 5001] : port => contains(var.inbound[*].port, port) ? "0.0.0.0" : "127.0.0.1" }

  box_env = merge(
    {
      BOX_VOLUME          = aws_ebs_volume.data.id
      BOX_REPOSITORY      = var.repository
      BOX_REVISION        = var.revision
      BOX_LAKE            = module.lake.url
      BOX_REGION          = var.region
      BOX_GRAFANA_ADDRESS = local.anyone[3000]
      BOX_PREFECT_ADDRESS = local.anyone[4200]
      BOX_MLFLOW_ADDRESS  = local.anyone[5000]
      BOX_SERVING_ADDRESS = local.anyone[5001]
      COMPOSE_PROFILES    = var.observability ? "observability" : ""
    },
    var.images == null ? {} : { LAUREL_FLOWS_IMAGE = var.images.flows, LAUREL_SERVING_IMAGE = var.images.serving },
  )

  docker = {
    # Images, containers and volumes: all that Docker keeps is on the data volume.
    data-root    = "/srv/laurel/docker"
    live-restore = true
  }

  registries = var.images == null ? [] : distinct([for image in values(var.images) : split("/", image)[0]])

  cloud_init = join("\n", ["#cloud-config", yamlencode({
    package_update = true
    packages       = concat(["docker.io", "docker-compose-v2", "docker-buildx", "git"], var.images == null ? [] : ["amazon-ecr-credential-helper"])
    # Written before the packages come, so that Docker finds its settings when it first starts.
    write_files = concat(
      [for name in ["laurel-volume", "laurel-install", "laurel-compose"] :
        { path = "/usr/local/sbin/${name}", permissions = "0755", content = file("${path.module}/box/${name}") }
      ],
      [for name in ["laurel-volume.service", "laurel.service"] :
        { path = "/etc/systemd/system/${name}", permissions = "0644", content = file("${path.module}/box/${name}") }
      ],
      [
        {
          path        = "/etc/systemd/system/docker.service.d/laurel.conf"
          permissions = "0644"
          content     = "# Never an empty Docker on the small disk because the volume was late.\n[Unit]\nRequires=laurel-volume.service\nAfter=laurel-volume.service\n"
        },
        { path = "/etc/docker/daemon.json", permissions = "0644", content = jsonencode(local.docker) },
        { path = "/root/.docker/config.json", permissions = "0600", content = jsonencode({ credHelpers = { for host in local.registries : host => "ecr-login" } }) },
        { path = "/etc/laurel/box.env", permissions = "0644", content = join("", [for name, value in local.box_env : "${name}=${value}\n"]) },
      ],
    )
    runcmd = [["systemctl", "enable", "--now", "--no-block", "laurel.service"]]
  })])
}
