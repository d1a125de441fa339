locals {
  graphs = [
    { title = "Requests", stat = "Sum", metrics = [["AWS/ApplicationELB", "RequestCount", "LoadBalancer", var.balancer_label]] },
    { title = "Predictions", stat = "Sum", metrics = [[var.name, "Predictions"]] },
    { title = "Answer time (s)", stat = "p99", metrics = [
      ["AWS/ApplicationELB", "TargetResponseTime", "LoadBalancer", var.balancer_label, { stat = "p50", label = "p50" }],
      ["AWS/ApplicationELB", "TargetResponseTime", "LoadBalancer", var.balancer_label, { stat = "p99", label = "p99" }],
    ] },
    { title = "Errors", stat = "Sum", metrics = [for metric in ["HTTPCode_Target_5XX_Count", "HTTPCode_ELB_5XX_Count", "HTTPCode_Target_4XX_Count"] :
      ["AWS/ApplicationELB", metric, "LoadBalancer", var.balancer_label]
    ] },
    { title = "Healthy tasks of the model service", stat = "Average", metrics = [
      ["AWS/ApplicationELB", "HealthyHostCount", "TargetGroup", var.target_group_label, "LoadBalancer", var.balancer_label],
    ] },
    { title = "CPU of services (%)", stat = "Average", metrics = [for service in ["prefect", "mlflow", "worker", "serving"] :
      ["AWS/ECS", "CPUUtilization", "ClusterName", var.cluster_name, "ServiceName", service, { label = service }]
    ] },
    { title = "Instances", stat = "Average", metrics = [for group in var.autoscaling_groups :
      ["AWS/AutoScaling", "GroupInServiceInstances", "AutoScalingGroupName", group, { label = group }]
    ] },
    { title = "Dead letters", stat = "Maximum", metrics = [["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", var.dead_letter_queue]] },
  ]
}

resource "aws_cloudwatch_dashboard" "main" {
  dashboard_name = var.name

  dashboard_body = jsonencode({
    widgets = [for index, graph in local.graphs : {
      type   = "metric"
      x      = index % 2 * 12
      y      = floor(index / 2) * 6
      width  = 12
      height = 6

      properties = {
        title   = graph.title
        stat    = graph.stat
        metrics = graph.metrics
        region  = var.region
        period  = 60
        view    = "timeSeries"
      }
    }]
  })
}
