# The box and its data. The box can go at any time (a new revision, a spot stop, a broken machine); the volume is attached to the next one.

resource "aws_ebs_volume" "data" {
  # checkov:skip=CKV_AWS_189:The account's own EBS key costs nothing; kms_key_arn names another
  # checkov:skip=CKV2_AWS_9:Snapshots are made by Data Lifecycle Manager (snapshots.tf), which AWS Backup would do at the same price
  availability_zone = data.aws_subnet.box.availability_zone
  size              = var.data_gigabytes
  type              = "gp3"
  encrypted         = true
  kms_key_id        = var.kms_key_arn
  snapshot_id       = var.restore_snapshot_id

  tags = {
    Name   = "${var.name}-data"
    backup = "${var.name}-daily"
  }

  lifecycle {
    # Champions, runs and passwords are on it. Who wants it gone takes it out of the state first: README, "Take it down".
    prevent_destroy = true
  }
}

resource "aws_instance" "box" {
  # checkov:skip=CKV_AWS_88:A public address is the way out where there is no NAT gateway (33 USD a month); no port is open on it
  # checkov:skip=CKV_AWS_126:Alarms need no measurement each minute, which costs
  ami                         = data.aws_ssm_parameter.ami.insecure_value
  instance_type               = var.instance_type
  subnet_id                   = data.aws_subnet.box.id
  vpc_security_group_ids      = [aws_security_group.box.id]
  associate_public_ip_address = var.public_ip
  iam_instance_profile        = aws_iam_instance_profile.box.name
  ebs_optimized               = true
  user_data                   = local.cloud_init
  user_data_replace_on_change = true

  metadata_options {
    http_endpoint = "enabled"
    http_tokens   = "required"
    # Containers are one hop further away than the box, and take the role's credentials from there.
    http_put_response_hop_limit = 2
  }

  root_block_device {
    volume_type = "gp3"
    volume_size = 16
    encrypted   = true
    kms_key_id  = var.kms_key_arn
  }

  dynamic "instance_market_options" {
    for_each = var.spot ? [1] : []

    content {
      market_type = "spot"

      spot_options {
        spot_instance_type             = "persistent"
        instance_interruption_behavior = "stop"
      }
    }
  }

  tags = {
    Name = "${var.name}-box"
  }

  lifecycle {
    # A newer Ubuntu is taken when the box is replaced, not because a plan happened to be made.
    ignore_changes = [ami]
  }

  # Without its rights it would start, fail to fetch, and try again.
  depends_on = [aws_iam_role_policy.box, aws_iam_role_policy.images, aws_vpc_security_group_egress_rule.out]
}

resource "aws_volume_attachment" "data" {
  device_name                    = "/dev/sdf"
  volume_id                      = aws_ebs_volume.data.id
  instance_id                    = aws_instance.box.id
  stop_instance_before_detaching = true
}
